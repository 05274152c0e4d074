"""Datasets with planted faults: copies of real ones in the COCO or VOC format, of which it is known what is wrong."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from pycocotools import mask as rle

import visionkit as vk

JITTER = 0.05
"""Standard deviation of the corners of a copied box, as a share of its sides."""


@dataclass
class Record:
    """An image with its boxes, xyxy, and the name of the fault that was planted in it."""

    split: str
    name: str
    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    fault: str = ""
    original: str = ""
    objects: list[int] = field(default_factory=list)
    truncated: bool = False
    quality: int = 95
    source: Path | None = None
    masks: list | None = None
    difficult: np.ndarray | None = None


def read_records(data: vk.VisionData) -> list[Record]:
    """Return all images of a dataset, crowds left out."""
    from visionkit.data.datasets.image_path import image_path

    records = []
    for split in data.splits:
        dataset = data.dataset(split)
        for index in range(len(dataset)):
            sample = dataset[index]
            kept = ~sample.annotation.crowd
            name = f"{split}_{Path(sample.file_name).stem}.jpg"
            boxes, labels = sample.annotation.boxes[kept], sample.annotation.labels[kept]
            record = Record(split, name, sample.image, boxes, labels, source=image_path(dataset, index))
            if sample.annotation.masks is not None:
                record.masks = [mask for mask, keep in zip(sample.annotation.masks, kept, strict=True) if keep]
            record.difficult = sample.annotation.difficult[kept]
            records.append(record)
    return records


def _other_split(record: Record, records: list[Record]) -> str:
    return next(other.split for other in records if other.split != record.split)


def _copy(record: Record, records: list[Record], random: np.random.Generator, change: str) -> Record:
    """Return a copy of an image in another split, changed in the given way."""
    image, boxes = record.image, record.boxes.copy()
    height, width = image.shape[:2]
    quality = 95
    if change == "encoded":
        quality = 35
    elif change == "resized":
        image = cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        boxes = boxes * np.array([image.shape[1] / width, image.shape[0] / height] * 2, np.float32)
    elif change == "cropped":
        left, top = (int(side * random.uniform(0.02, 0.08)) for side in (width, height))
        image = image[top : height - int(0.03 * height), left : width - int(0.03 * width)]
        limit = np.array([image.shape[1], image.shape[0]] * 2, np.float32)
        boxes = np.clip(boxes - np.array([left, top, left, top], np.float32), 0, limit)
    elif change == "mirrored":
        image = image[:, ::-1]
        boxes = np.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], axis=1)
    elif change == "brighter":
        image = cv2.convertScaleAbs(image, alpha=1.1, beta=25)
    inside = (boxes[:, 2:] - boxes[:, :2]).min(axis=1, initial=np.inf) >= 2
    masks = None if record.masks is None else [_box_mask(box, image.shape[:2]) for box in boxes[inside]]
    name = f"{change}_{record.name}"
    split = _other_split(record, records)
    source = record.source if change == "exact" else None
    labels, hard = record.labels[inside], record.difficult[inside]
    return Record(split, name, image, boxes[inside], labels, "", record.name, [], False, quality, source, masks, hard)


def _box_mask(box: np.ndarray, size: tuple[int, int]) -> dict:
    """Return a mask that fills a box: the masks of copies are not what is tested."""
    mask = np.zeros(size, np.uint8, order="F")
    left, top, right, bottom = box.round().astype(int)
    mask[top:bottom, left:right] = 1
    return rle.encode(mask)


def _with_box(record: Record, index: int, box: np.ndarray) -> None:
    record.boxes = record.boxes.copy()
    record.boxes[index] = box
    record.objects = [index]


def _jitter(record: Record, index: int, random: np.random.Generator, classes: int) -> None:
    box = record.boxes[index]
    sides = np.tile(box[2:] - box[:2], 2)
    copy = box + random.normal(0, JITTER, 4) * sides
    height, width = record.image.shape[:2]
    record.boxes = np.concatenate([record.boxes, np.clip(copy, 0, [width, height] * 2)[None]]).astype(np.float32)
    record.labels = np.append(record.labels, record.labels[index])
    record.difficult = np.append(record.difficult, record.difficult[index])
    if record.masks is not None:
        record.masks = [*record.masks, record.masks[index]]
    record.objects = [index, len(record.labels) - 1]


def _shrink(record: Record, index: int, random: np.random.Generator, classes: int) -> None:
    left, top, right, bottom = record.boxes[index]
    sides = random.uniform(2, 5, 2)
    corner = np.array([random.uniform(left, max(right - 5, left)), random.uniform(top, max(bottom - 5, top))])
    _with_box(record, index, np.concatenate([corner, corner + sides]))


def _blow_up(record: Record, index: int, random: np.random.Generator, classes: int) -> None:
    left, top, right, bottom = record.boxes[index]
    center, sides = np.array([left + right, top + bottom]) / 2, np.array([right - left, bottom - top]) * 3
    height, width = record.image.shape[:2]
    _with_box(record, index, np.clip([*(center - sides / 2), *(center + sides / 2)], 0, [width, height] * 2))


def _swap(record: Record, index: int, random: np.random.Generator, classes: int) -> None:
    left, top, right, bottom = record.boxes[index]
    _with_box(record, index, np.array([top, left, bottom, right]))


def _shift(record: Record, index: int, random: np.random.Generator, classes: int) -> None:
    box = record.boxes[index]
    angle, sides = random.uniform(0, 2 * np.pi), box[2:] - box[:2]
    moved = box + np.tile(np.array([np.cos(angle), np.sin(angle)]) * sides, 2)
    height, width = record.image.shape[:2]
    _with_box(record, index, np.clip(moved, 0, [width, height] * 2))


def _relabel(record: Record, index: int, random: np.random.Generator, classes: int) -> None:
    record.labels = record.labels.copy()
    record.labels[index] = (record.labels[index] + random.integers(1, classes)) % classes
    record.objects = [index]


def _remove(record: Record, index: int, random: np.random.Generator, classes: int) -> None:
    record.boxes, record.labels = np.delete(record.boxes, index, axis=0), np.delete(record.labels, index)
    record.difficult = np.delete(record.difficult, index)
    if record.masks is not None:
        record.masks = [mask for other, mask in enumerate(record.masks) if other != index]


OF_BOXES: dict[str, Callable[[Record, int, np.random.Generator, int], None]] = {
    "box copied with jitter": _jitter,
    "box shrunk to a few pixels": _shrink,
    "box three times as large": _blow_up,
    "x and y swapped": _swap,
    "wrong class": _relabel,
    "box shifted by its size": _shift,
    "box removed": _remove,
}
CHANGES = ("encoded", "resized", "cropped", "mirrored", "brighter")
KINDS = (
    "image copied across splits",
    "altered copy across splits",
    "box copied with jitter",
    "box shrunk to a few pixels",
    "box three times as large",
    "x and y swapped",
    "wrong class",
    "truncated image file",
)
"""The eight kinds of the benchmark."""

HARDER = ("box shifted by its size", "box removed")
"""Two further kinds, which are reported separately."""


def plant(records: list[Record], kinds: tuple[str, ...], each: int, classes: int, seed: int) -> list[Record]:
    """Return the images with `each` faults of each kind, at most one in an image."""
    random = np.random.default_rng(seed)
    order = random.permutation(len(records)).tolist()
    added = []
    for kind in kinds:
        for number in range(each):
            record = next(records[index] for index in order if _suits(records[index], kind))
            if "cop" in kind and "split" in kind:
                copy = _copy(record, records, random, "exact" if kind.startswith("image") else CHANGES[number % 5])
                copy.fault = kind
                record.original = copy.name  # involved, so that it takes no further fault
                added.append(copy)
            elif kind.startswith("truncated"):
                record.truncated, record.fault = True, kind
            else:
                choices = [index for index in range(len(record.labels)) if _suits_box(record, index, kind)]
                OF_BOXES[kind](record, int(random.choice(choices)), random, classes)
                record.fault = kind
    return [*records, *added]


def _suits(record: Record, kind: str) -> bool:
    if record.fault or record.original:
        return False
    return kind not in OF_BOXES or any(_suits_box(record, index, kind) for index in range(len(record.labels)))


def _suits_box(record: Record, index: int, kind: str) -> bool:
    """Return whether a fault of this kind changes a box visibly."""
    box, (height, width) = record.boxes[index], record.image.shape[:2]
    sides = box[2:] - box[:2]
    if sides.min() < 16:
        return False
    if kind == "box three times as large":
        return bool((sides < [0.45 * width, 0.45 * height]).all())
    if kind == "x and y swapped":
        return _overlap(box, np.array([box[1], box[0], box[3], box[2]])) < 0.3 and box[0] < height and box[1] < width
    return True


def _overlap(one: np.ndarray, other: np.ndarray) -> float:
    sides = np.clip(np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2]), 0, None)
    inside = sides.prod()
    return float(inside / ((one[2:] - one[:2]).prod() + (other[2:] - other[:2]).prod() - inside))


def write_coco(records: list[Record], names: list[str], folder: Path) -> dict[str, object]:
    """Write the images and one instances file per split, and return the values of the data card."""
    splits = [*dict.fromkeys(record.split for record in records)]
    for split in splits:
        (folder / split).mkdir(parents=True)
        content: dict[str, list[object]] = {
            "images": [],
            "annotations": [],
            "categories": [{"id": label + 1, "name": name} for label, name in enumerate(names)],
        }
        for number, record in enumerate([record for record in records if record.split == split], start=1):
            height, width = record.image.shape[:2]
            content["images"].append({"id": number, "file_name": record.name, "height": height, "width": width})
            _write_image(record, folder / split / record.name)
            for index, box in enumerate(record.boxes.astype(float).tolist()):
                entry = {
                    "id": len(content["annotations"]) + 1,
                    "image_id": number,
                    "category_id": int(record.labels[index]) + 1,
                    "bbox": [box[0], box[1], box[2] - box[0], box[3] - box[1]],
                    "iscrowd": 0,
                }
                if record.masks is not None:
                    mask = record.masks[index]
                    entry["segmentation"] = {"size": list(mask["size"]), "counts": _text(mask["counts"])}
                content["annotations"].append(entry)
        (folder / f"{split}.json").write_text(json.dumps(content))
    parts = {split: {"annotations": f"{split}.json", "images": split} for split in splits}
    return {"data": {"format": "coco", "root": str(folder), "splits": parts}}


def write_voc(records: list[Record], names: list[str], folder: Path) -> dict[str, object]:
    """Write the images and their XML files with the flag `difficult`, and return the values of the data card."""
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    splits = [*dict.fromkeys(record.split for record in records)]
    for split in splits:
        own = [record for record in records if record.split == split]
        (folder / f"ImageSets/Main/{split}.txt").write_text("\n".join(Path(record.name).stem for record in own))
    for record in records:
        _write_image(record, folder / "JPEGImages" / record.name)
        height, width = record.image.shape[:2]
        objects = "".join(
            f"<object><name>{names[label]}</name><difficult>{int(hard)}</difficult><bndbox>"
            f"<xmin>{box[0] + 1}</xmin><ymin>{box[1] + 1}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax>"
            "</bndbox></object>"
            for box, label, hard in zip(record.boxes.tolist(), record.labels, record.difficult, strict=True)
        )
        size = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
        path = folder / "Annotations" / f"{Path(record.name).stem}.xml"
        path.write_text(f"<annotation><filename>{record.name}</filename>{size}{objects}</annotation>")
    parts = {split: {"image_set": split} for split in splits}
    return {"data": {"format": "voc", "root": str(folder), "classes": names, "splits": parts}}


def _text(counts: bytes | str) -> str:
    return counts.decode() if isinstance(counts, bytes) else counts


def _write_image(record: Record, path: Path) -> None:
    if record.source is not None:
        content = record.source.read_bytes()
    else:
        image = np.ascontiguousarray(record.image[:, :, ::-1])
        content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, record.quality])[1].tobytes()
    path.write_bytes(content[: len(content) * 2 // 3] if record.truncated else content)
