"""A COCO dataset with everything that some formats cannot hold, and its conversion."""

import json

import numpy as np
from PIL import Image
from pycocotools import mask as rle

from visionkit.data.datasets.coco import Coco
from visionkit.data.export.base import writers
from visionkit.data.export.convert import convert, plan_splits

HEIGHT, WIDTH = 48, 64
IDS = {"cat": 17, "traffic light": 3}


def pixels(*parts, holes=()):
    """Return a mask of boxes x1, y1, x2, y2 without the boxes of its holes."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for value, boxes in ((1, parts), (0, holes)):
        for x1, y1, x2, y2 in boxes:
            mask[y1:y2, x1:x2] = value
    return mask


def code(mask):
    return rle.encode(np.asfortranarray(mask))


STAIRS = pixels((4, 4, 20, 8), (4, 8, 12, 20))
RING = pixels((24, 4, 44, 24), holes=[(30, 10, 36, 16)])
PAIR = pixels((4, 30, 12, 44), (20, 28, 30, 40))
OBJECTS = [
    ("cat", [4, 4, 16, 16], STAIRS, 0),
    ("cat", [24, 4, 20, 20], RING, 0),
    ("traffic light", [4, 28, 26, 16], PAIR, 0),
    ("cat", [50, 30, 10, 12], pixels((50, 30, 60, 42)), 0),
    ("traffic light", [45.25, 2.5, 10.5, 9.25], pixels((46, 3, 55, 11), (46, 3, 50, 12)), 0),
    ("cat", [33, 26, 14, 20], pixels((33, 26, 47, 46), holes=[(33, 26, 36, 28)]), 1),
]
"""Class, COCO box, mask, and whether it is a crowd: steps, a hole, two parts, only a box, fractions, and a crowd."""


def write_source(folder, extra=(), masks=True):
    """Write `train` with the objects in its first image, and `val` with one object; return the datasets."""
    for split, rows in (("train", [*OBJECTS, *extra]), ("val", OBJECTS[:1])):
        (folder / split / "day 1").mkdir(parents=True)
        names = ["a b.png", "day 1/a b.jpg", "c.png"]
        for name in names:
            Image.new("RGB", (WIDTH, HEIGHT), (200, 0, 0)).save(folder / split / name)
        annotations = [
            {
                "id": number,
                "image_id": 70,
                "category_id": IDS[name],
                "bbox": box,
                "area": float(mask.sum()),
                "iscrowd": crowd,
                "segmentation": {"size": [HEIGHT, WIDTH], "counts": code(mask)["counts"].decode()},
            }
            for number, (name, box, mask, crowd) in enumerate(rows, start=1)
        ]
        content = {
            "images": [
                {"id": image_id, "file_name": name, "height": HEIGHT, "width": WIDTH}
                for image_id, name in zip((70, 9, 12), names, strict=True)
            ],
            "annotations": annotations,
            "categories": [{"id": own_id, "name": name} for name, own_id in IDS.items()],
        }
        (folder / f"{split}.json").write_text(json.dumps(content))
    return {split: Coco(folder, f"{split}.json", split, masks=masks) for split in ("train", "val")}


def write_as(name, datasets, folder, link=False):
    """Convert, and return the plans and what `convert` returns."""
    writer = writers.get(name)
    plans = plan_splits(datasets, writer)
    return plans, convert(plans, writer, folder, link)
