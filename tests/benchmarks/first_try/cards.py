"""The data cards of the benchmark, as a user would write them: data only, no training options.

Each function takes the folder of the real datasets and a new folder for derived files, and returns the card.
"""

import csv
import shutil
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

Card = dict[str, Any]

VOC_CLASSES = """aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person
    pottedplant sheep sofa train tvmonitor"""
CAMVID_CLASSES = "sky building pole road pavement tree sign fence car pedestrian bicyclist"
CCP_CLASSES = "background skin hair upper lower dress shoes bag accessory"

CIFAR_TEST_IMAGES = 2000
CIFAR_LARGEST = 1000
"""Images per class of the largest training set. The smaller sets are its first images."""

RARE_TAG = 5
"""Tags of fewer training images are left out of the card of tags."""


def write_card(card: Card, path: Path) -> None:
    """Write a card as YAML."""
    path.write_text(yaml.safe_dump(card, sort_keys=False, allow_unicode=True))


def bccd(data: Path, folder: Path) -> Card:
    """Blood cells."""
    return _bccd_card(data / "bccd")


def bccd_50(data: Path, folder: Path) -> Card:
    """Blood cells, 50 of the training images. The files are copied, since a card names no files outside its root."""
    lists = Path("ImageSets", "Main")
    chosen = {split: (data / "bccd" / lists / f"{split}.txt").read_text().split() for split in ("train", "val", "test")}
    chosen["train"] = sample(chosen["train"], 50)
    for split, names in chosen.items():
        files = [f"{kind}/{name}.{ending}" for name in names for kind, ending in _VOC_FILES]
        copy_files(data / "bccd", folder, files)
        write_lines(folder / lists / f"{split}.txt", names)
    return _bccd_card(folder)


_VOC_FILES = (("Annotations", "xml"), ("JPEGImages", "jpg"))


def _bccd_card(root: Path) -> Card:
    splits = {split: {"image_set": split} for split in ("train", "val", "test")}
    return {"data": {"format": "voc", "root": str(root), "classes": ["RBC", "WBC", "Platelets"], "splits": splits}}


def voc2007_mini(data: Path, folder: Path) -> Card:
    """Photographs with 20 classes, scored as VOC 2007."""
    splits = {split: {"image_set": split} for split in ("train", "val")}
    source = {"format": "voc", "root": str(data / "voc2007-mini"), "classes": VOC_CLASSES.split(), "splits": splits}
    return {"data": source, "evaluation": {"metric": "voc07"}}


def coco_boxes(data: Path, folder: Path) -> Card:
    """The boxes of 52 + 36 images of COCO."""
    return _coco_card(data)


def coco_masks(data: Path, folder: Path) -> Card:
    """The same images, with the masks of the objects."""
    return {**_coco_card(data, masks=True), "evaluation": {"metric": "coco_masks"}}


def _coco_card(data: Path, **options: Any) -> Card:
    splits = {
        split: {"annotations": f"annotations/instances_{split}2017.json", "images": f"{split}2017", **options}
        for split in ("train", "val")
    }
    return {"data": {"format": "coco", "root": str(data / "coco-mini"), "splits": splits}}


def camvid(data: Path, folder: Path) -> Card:
    """Street scenes."""
    return _camvid_card(data / "camvid")


def camvid_50(data: Path, folder: Path) -> Card:
    """Street scenes, 50 of the training images."""
    for split in ("train", "val", "test"):
        pairs = (data / "camvid" / f"{split}.txt").read_text().splitlines()
        pairs = sample(pairs, 50) if split == "train" else pairs
        copy_files(data / "camvid", folder, [name for pair in pairs for name in pair.split()])
        write_lines(folder / f"{split}.txt", pairs)
    return _camvid_card(folder)


def _camvid_card(root: Path) -> Card:
    splits = {split: {"list_file": f"{split}.txt", "values": {11: "ignore"}} for split in ("train", "val", "test")}
    return {"data": {"format": "masks", "root": str(root), "classes": CAMVID_CLASSES.split(), "splits": splits}}


def isbi(data: Path, folder: Path) -> Card:
    """Slices of a nerve cord; the last six of 30 are held out, as in data/isbi_membrane.yaml."""
    block = {"images": "images", "masks": "labels", "values": {0: "membrane", 255: "cell"}, "folds": 5, "fold": 4}
    splits = {"train": block.copy(), "val": {**block, "held_out": True}}
    return {"data": {"format": "masks", "root": str(data / "isbi-membrane"), "splits": splits}}


def cifar10(data: Path, folder: Path, per_class: int) -> Card:
    """Images of 32 pixels in a folder per class: `per_class` training images, and 2,000 of the test images.

    The user has no validation images: a fifth of the training images is held out, as in data/folder_template.yaml.
    """
    write_class_folders(data / "cifar10" / "train_jpeg.npz", folder / "train", per_class)
    write_class_folders(data / "cifar10" / "test_jpeg.npz", folder / "test", CIFAR_TEST_IMAGES // 10)
    splits = {split: {"path": split} for split in ("train", "test")}
    holdout = {"fraction": 0.2, "seed": 0}
    return {"data": {"format": "folder", "root": str(folder), "splits": splits, "holdout": holdout}}


def ccp_masks(data: Path, folder: Path) -> Card:
    """Photographs of outfits with masks of nine classes."""
    values = dict(enumerate(CCP_CLASSES.split()))
    splits = {
        split: {"images": f"images/{split}", "masks": f"masks_9/{split}", "values": dict(values)}
        for split in ("train", "val")
    }
    return {"data": {"format": "masks", "root": str(data / "ccp-multitask"), "splits": splits}}


def ccp_labels(data: Path, folder: Path) -> Card:
    """The same photographs with the tags of their outfits."""
    with (data / "ccp-multitask" / "image_labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    images = Counter(tag for row in rows if row["split"] == "train" for tag in row["tags"].split(";"))
    classes = sorted(tag for tag, count in images.items() if count >= RARE_TAG)
    table = {"annotations": "image_labels.csv", "images": "images", "path_column": "file", "label_column": "tags"}
    options = {**table, "separator": ";", "other_labels": "skip"}
    splits = {split: {**options, "rows": {"split": split}} for split in ("train", "val")}
    return {"data": {"format": "csv", "root": str(data / "ccp-multitask"), "classes": classes, "splits": splits}}


def potholes(data: Path, folder: Path) -> Card:
    """24 photographs of roads with outlines of potholes, 16 of them for training. Copies of one image stay together."""
    source = data / "annotation-formats" / "yolo_segment_potholes"
    images = {path.name: path for path in sorted((source / "images").glob("*/*.jpg"))}
    for path in images.values():
        text = source / "labels" / path.parent.name / f"{path.stem}.txt"
        for kind, file in (("images", path), ("labels", text)):
            copy_files(file.parent, folder / kind, [file.name])
    held_out = sample([name for name in images if not name.startswith(_COPIED)], 8)
    write_lines(folder / "train.txt", [f"images/{name}" for name in images if name not in held_out])
    write_lines(folder / "val.txt", [f"images/{name}" for name in held_out])
    write_lines(folder / "classes.txt", ["pothole"])
    splits = {split: {"dataset": "classes.txt", "images": f"{split}.txt"} for split in ("train", "val")}
    return {"data": {"format": "yolo", "root": str(folder), "splits": splits}}


_COPIED = ("pic-164-", "pic-279-")
"""Images that Roboflow copied with changes."""


def sample(names: list[str], count: int) -> list[str]:
    """Return the first names of a shuffled list, the same in every run, in their order in the list."""
    chosen = np.random.default_rng(0).permutation(len(names))[:count]
    return [names[index] for index in sorted(chosen)]


def copy_files(source: Path, target: Path, names: Iterable[str]) -> None:
    """Copy files with their folders."""
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, target / name)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a text file, and its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def write_class_folders(archive: Path, folder: Path, per_class: int) -> None:
    """Write the first images of each class, in a shuffled order that is the same in every run, in a folder each."""
    arrays = np.load(archive)
    encoded, offsets, labels, names = (arrays[key] for key in ("jpeg", "offsets", "labels", "class_names"))
    order = np.random.default_rng(0).permutation(len(labels))
    for label, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for index in order[labels[order] == label][:per_class]:
            (folder / name / f"{index:05d}.jpg").write_bytes(encoded[offsets[index] : offsets[index + 1]].tobytes())
