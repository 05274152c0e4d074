"""Three data cards over the same image files: boxes in a COCO file, semantic masks, and classes in a table."""

import json
from itertools import chain

import numpy as np
from PIL import Image

from visionkit.data.datamodule import VisionData

SIZE = 30, 20
"""Width and height of the images."""

KINDS = {"objects": "boxes", "regions": "semantic", "tags": "tags"}
"""Kinds of the heads that the three cards have labels for."""


def write_folder(folder, splits):
    """Write images, masks and annotations for the names of the images of each split, such as {"train": ["a", "b"]}.

    The red channel of an image is ten times its place among all names, and so is the id of the image in the COCO file.
    Its box starts at x = 1 + place, all its pixels have the class place % 2, and its only tag is "even" or "odd".
    """
    for part in ("images", "masks"):
        (folder / part).mkdir(exist_ok=True)
    place = {name: number for number, name in enumerate(dict.fromkeys(chain(*splits.values())))}
    for name, number in place.items():
        Image.new("RGB", SIZE, (10 * number, 0, 0)).save(folder / "images" / f"{name}.png")
        Image.new("L", SIZE, 100 * (number % 2)).save(folder / "masks" / f"{name}.png")
    for split, names in splits.items():
        rows = [f"{name}.png,{'odd' if place[name] % 2 else 'even'}" for name in names]
        (folder / f"{split}.csv").write_text("\n".join(["path,label", *rows]))
        (folder / f"{split}.txt").write_text("\n".join(f"{name}.png {name}.png" for name in names))
        (folder / f"{split}.json").write_text(json.dumps(_coco(place, names)))


def _coco(place, names):
    width, height = SIZE
    return {
        "images": [
            {"id": 10 * place[name], "file_name": f"{name}.png", "width": width, "height": height} for name in names
        ],
        "annotations": [
            {
                "id": number,
                "image_id": 10 * place[name],
                "category_id": 7,
                "bbox": [1 + place[name], 2, 10, 10],
                "area": 100,
                "iscrowd": 0,
            }
            for number, name in enumerate(names)
        ],
        "categories": [{"id": 7, "name": "thing"}],
    }


def coco_card(folder, splits=("train",), **options):
    parts = {split: {"annotations": f"{split}.json", "images": "images"} for split in splits}
    return VisionData("coco", root=str(folder), splits=parts, **{"num_workers": 0, **options})


def masks_card(folder, splits=("train",), **options):
    values = {0: "sea", 100: "land"}
    folders = {"images": "images", "masks": "masks", "values": values}
    parts = {split: {**folders, "list_file": f"{split}.txt"} for split in splits}
    return VisionData("masks", root=str(folder), splits=parts, required="semantic", **{"num_workers": 0, **options})


def csv_card(folder, splits=("train",), **options):
    parts = {split: {"annotations": f"{split}.csv", "images": "images", "separator": "|"} for split in splits}
    classes = ["even", "odd"]
    return VisionData(
        "csv", root=str(folder), splits=parts, classes=classes, required="tags", **{"num_workers": 0, **options}
    )


def three_cards(folder, splits=("train",), **options):
    """The cards of three heads, as `MultiData` takes them."""
    return {
        "objects": {"coco": coco_card(folder, splits, **options)},
        "regions": {"masks": masks_card(folder, splits, **options)},
        "tags": {"csv": csv_card(folder, splits, **options)},
    }


def number_of(sample):
    """The place of a sample's image among all names, read from its pixels."""
    return int(np.asarray(sample.image)[0, 0, 0]) // 10
