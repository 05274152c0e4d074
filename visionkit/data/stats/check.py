"""Report of the contents and the errors of a dataset, to be checked before training."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.progress import track

from visionkit.data.datasets.base import VisionDataset
from visionkit.data.datasets.image_path import image_path
from visionkit.data.io.images import has_sixteen_bits
from visionkit.data.stats.pixel_counts import mask_histogram
from visionkit.errors import DataError
from visionkit.ops.ignore import IGNORE
from visionkit.text import format_list

MAX_LISTED = 10
MAX_CLASSES = 100
"""Maximum number of classes whose counts are printed."""

NEARLY_BLACK = 4095 // 257
"""Largest value of an image whose file has 16 bits and uses 12 of them, or fewer."""

QUANTILES = [0.05, 0.25, 0.5, 0.75, 0.95]


@dataclass
class DataReport:
    """Statistics of one split.

    Attributes:
        images: number of images.
        repaired: number of annotations that the dataset repaired or dropped, by reason.
        empty: number of images without objects.
        objects: number of objects by class name.
        sides: quantiles 5, 25, 50, 75 and 95 % of the square root of the box area, in pixels; empty without objects.
        labeled: number of images by class name, if images have a single class, or several classes and no objects;
            None if no image has a class.
        unlabeled: number of images without a class, if other images have one.
        pixels: number of pixels by class name, if images have semantic masks; None if no image has one.
        void: number of pixels that are ignored.
        masked: number of images with a semantic mask.
        nearly_black: whether there are gray image files with 16 bits, and none has a value above `NEARLY_BLACK`.
        problems: one sentence for each image that cannot be used.
    """

    images: int
    repaired: dict[str, int]
    empty: int
    objects: dict[str, int]
    sides: list[float]
    labeled: dict[str, int] | None = None
    unlabeled: int = 0
    pixels: dict[str, int] | None = None
    void: int = 0
    masked: int = 0
    nearly_black: bool = False
    problems: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Return the lines of the report as text."""
        return [
            *self._about_images(),
            *self._about_objects(),
            *self._about_labels(),
            *self._about_masks(),
            *self._about_faults(),
        ]

    @property
    def _knows_objects(self) -> bool:
        return any(self.objects.values()) or (self.labeled is None and self.pixels is None)

    def _about_images(self) -> Iterator[str]:
        yield f"{self.images} images" + (f", {self.empty} of them without objects" if self._knows_objects else "")

    def _about_objects(self) -> Iterator[str]:
        if not self._knows_objects:
            return
        yield f"{sum(self.objects.values())} objects: {_counts(self.objects)}"
        yield from _absent(self.objects, "classes without a single object")
        if self.sides:
            quantiles = ", ".join(f"{side:.0f}" for side in self.sides)
            yield f"side of the boxes at the 5, 25, 50, 75, 95 % quantile: {quantiles} px"

    def _about_labels(self) -> Iterator[str]:
        if self.labeled is None:
            return
        yield f"images of each class: {_counts(self.labeled)}"
        smallest, largest = (choose(self.labeled, key=self.labeled.__getitem__) for choose in (min, max))
        if self.labeled[smallest] < self.labeled[largest]:
            yield f"smallest class: {smallest} {self.labeled[smallest]}, largest: {largest} {self.labeled[largest]}"
        yield from _absent(self.labeled, "classes without an image")
        if self.unlabeled:
            yield f"images without a class: {self.unlabeled}"

    def _about_masks(self) -> Iterator[str]:
        if self.pixels is None:
            return
        whole = max(sum(self.pixels.values()) + self.void, 1)
        shares = [f"{name} {100 * count / whole:.2f} %" for name, count in self.pixels.items()]
        yield f"pixels per class: {format_list(shares, MAX_CLASSES)}; ignored {100 * self.void / whole:.2f} %"
        yield from _absent(self.pixels, "classes without a pixel")
        if self.masked < self.images - len(self.problems):
            yield f"images without a mask: {self.images - len(self.problems) - self.masked}"

    def _about_faults(self) -> Iterator[str]:
        if self.nearly_black:
            yield (
                f"WARNING images with 16 bits are nearly black: none has a value above {NEARLY_BLACK} of 255; if their "
                "files use fewer bits, set data.bit_depth: 12 for values up to 4095"
            )
        for reason, count in self.repaired.items():
            yield f"{reason}: {count}"
        for problem in self.problems[:MAX_LISTED]:
            yield f"PROBLEM {problem}"
        if len(self.problems) > MAX_LISTED:
            yield f"PROBLEM ... and {len(self.problems) - MAX_LISTED} more images"


def check(dataset: VisionDataset, bit_depth: int | None = None) -> DataReport:
    """Read all images of a split and compute its statistics.

    Args:
        dataset: the split.
        bit_depth: that of its `VisionData`. If it is given, images are not reported as nearly black.
    """
    read, about_objects = _read_all(dataset, bit_depth), _object_metrics(dataset)
    # Tags that are derived from an image's objects are already counted as objects.
    about_labels = _label_metrics(dataset, with_tags=not any(about_objects["objects"].values()))
    return DataReport(len(dataset), dict(dataset.report), **about_objects, **about_labels, **read)


def _read_all(dataset: VisionDataset, bit_depth: int | None) -> dict[str, Any]:
    """Return the report's fields on images that cannot be used, and on the values and masks of the others."""
    problems: list[str] = []
    brightest = -1
    values, masked = np.zeros(IGNORE + 1, np.int64), 0
    for index in track(range(len(dataset)), description="check"):
        try:
            sample = dataset[index]
            if bit_depth is None and _has_sixteen_bits(dataset, index):
                brightest = max(brightest, int(sample.image.max()))
            if sample.semantic is not None:
                values += mask_histogram(sample.semantic, len(dataset.class_names), sample.file_name)
                masked += 1
        except DataError as error:
            problems.append(str(error).splitlines()[0])
    found: dict[str, Any] = {"problems": problems, "nearly_black": 0 <= brightest <= NEARLY_BLACK}
    if not masked:
        return found
    by_class = dict(zip(dataset.class_names, values.tolist(), strict=False))
    return {**found, "pixels": by_class, "void": int(values[IGNORE]), "masked": masked}


def _has_sixteen_bits(dataset: VisionDataset, index: int) -> bool:
    """Return whether an image is a gray image file with 16 bits."""
    path = image_path(dataset, index)
    return path is not None and has_sixteen_bits(path)


def _object_metrics(dataset: VisionDataset) -> dict[str, Any]:
    """Return the report's fields on objects."""
    counts, boxes, empty = np.zeros(len(dataset.class_names), np.int64), [np.zeros((0, 4), np.float32)], 0
    for index in range(len(dataset)):
        found = dataset.annotation(index)
        if len(found):
            counts += np.bincount(found.labels, minlength=len(counts))
            boxes.append(found.boxes)
        else:
            empty += 1
    corners = np.concatenate(boxes)
    sides = np.sqrt((corners[:, 2:] - corners[:, :2]).prod(axis=1))
    return {
        "empty": empty,
        "objects": dict(zip(dataset.class_names, counts.tolist(), strict=True)),
        "sides": np.quantile(sides, QUANTILES).tolist() if len(sides) else [],
    }


def _label_metrics(dataset: VisionDataset, with_tags: bool) -> dict[str, Any]:
    """Return the report's fields on the classes of images; empty if no image has a class."""
    counts, unlabeled = np.zeros(len(dataset.class_names), np.int64), 0
    for index in range(len(dataset)):
        label, tags = dataset.label(index), dataset.tags(index) if with_tags else None
        held = tags if label is None else [label]
        counts[[] if held is None else held] += 1
        unlabeled += held is None or not len(held)
    if not counts.any():
        return {}
    return {"labeled": dict(zip(dataset.class_names, counts.tolist(), strict=True)), "unlabeled": unlabeled}


def _counts(counts: Mapping[str, int]) -> str:
    return format_list([f"{name} {count}" for name, count in counts.items()], MAX_CLASSES)


def _absent(counts: Mapping[str, int], what: str) -> Iterator[str]:
    absent = [name for name, count in counts.items() if not count]
    if absent:
        yield f"{what}: {format_list(absent, MAX_CLASSES)}"
