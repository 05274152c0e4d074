"""Comparison of a written dataset, as it is read back, with its source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from visionkit.data.card_splits import CardSplits
from visionkit.data.datasets.base import VisionDataset, formats
from visionkit.data.datasets.image_path import image_path
from visionkit.data.export.base import DatasetWriter, Feature
from visionkit.data.export.convert import Converted
from visionkit.data.export.losses import BOX_TOLERANCE
from visionkit.data.export.outlines import is_box, mask_box, outline
from visionkit.data.export.plan import SplitPlan
from visionkit.structures import Annotation, Rle

MIN_IOU = 0.99
"""Smallest IoU of a mask with its source. Masks whose holes are filled are only listed."""


class Row(NamedTuple):
    """A line of the table: what is compared, its value in the source and in the result, and whether they agree."""

    quantity: str
    source: str
    result: str
    agrees: bool


@dataclass
class _Object:
    """An object as it should be read back."""

    name: str
    box: NDArray[np.float64]
    mask: Rle | None
    crowd: bool
    difficult: bool
    has_lost_hole: bool = False


class SplitComparison:
    """Compares the images of a split one by one.

    Args:
        plan: the source.
        writer: writer of the format.
        result: the split as it is read back.
    """

    def __init__(self, plan: SplitPlan, writer: type[DatasetWriter], result: VisionDataset) -> None:
        self.plan, self.writer, self.result = plan, writer, result
        self.expected = self.found = self.missing = self.pixels = self.masked = 0
        self.box_differences, self.ious, self.ious_of_filled = [0.0], list[float](), list[float]()
        self.flags: dict[Feature, list[int]] = {"crowd": [0, 0, 0], "difficult": [0, 0, 0]}
        """Number of objects with the flag in the source, in the result, and in only one of them."""
        self.missing_images = 0
        self._compare()

    def rows(self) -> list[Row]:
        """Return the lines of the table."""
        source, result = self.plan.dataset, self.result
        rows = [
            Row("images", str(len(source)), str(len(result)), len(source) == len(result) and not self.missing_images),
            Row("class names", str(len(source.class_names)), str(len(result.class_names)), self._same_classes()),
        ]
        return rows + (self._rows_of_objects() if "objects" in self.writer.holds else self._rows_of_masks())

    def _same_classes(self) -> bool:
        same_ids = "category ids" not in self.writer.holds or self.plan.dataset.category_ids == self.result.category_ids
        return same_ids and self.plan.dataset.class_names == self.result.class_names

    def _rows_of_masks(self) -> list[Row]:
        return [Row("pixels with another class", "", f"{self.pixels} in {self.masked} masks", not self.pixels)]

    def _rows_of_objects(self) -> list[Row]:
        largest = max(self.box_differences)
        rows = [
            Row("objects", str(self.expected), str(self.found), not self.missing and self.expected >= self.found),
            Row("box difference", "", f"at most {largest:.4f} px", largest <= BOX_TOLERANCE),
        ]
        for name, ious, lowest in (
            ("mask IoU", self.ious, MIN_IOU),
            ("mask IoU, holes filled", self.ious_of_filled, 0),
        ):
            if ious:
                text = f"mean {np.mean(ious):.4f}, lowest {min(ious):.4f}"
                rows.append(Row(name, f"{len(ious)} masks", text, min(ious) >= lowest))
        for name, (expected, found, wrong) in self.flags.items():
            if name in self.writer.holds:
                rows.append(Row(name, str(expected), str(found), not wrong))
        return rows

    def _compare(self) -> None:
        paths = [image_path(self.result, index) for index in range(len(self.result))]
        by_stem = {path.stem: index for index, path in enumerate(paths) if path is not None}
        for index, name in enumerate(self.plan.names):
            position = by_stem.get(Path(name).stem)
            if position is None:
                self.missing_images += 1
            elif "objects" in self.writer.holds:
                self._compare_objects(index, position)
            else:
                self._compare_semantic(index, position)

    def _compare_semantic(self, index: int, position: int) -> None:
        expected, found = self.plan.dataset.semantic(index), self.result.semantic(position)
        if expected is not None:
            self.masked += 1
            is_same_size = found is not None and expected.shape == found.shape
            self.pixels += int((expected != found).sum()) if is_same_size else expected.size

    def _compare_objects(self, index: int, position: int) -> None:
        annotation = self.result.annotation(position)
        found = [_object(annotation, row, self.result.class_names) for row in range(len(annotation))]
        expected = self._expected(self.plan.dataset.annotation(index))
        pairs = _match(expected, found)
        self.expected, self.found = self.expected + len(expected), self.found + len(found)
        self.missing += len(expected) - len(pairs)
        for first, second in pairs:
            self._compare_pair(expected[first], found[second])

    def _compare_pair(self, expected: _Object, found: _Object) -> None:
        self.box_differences.append(float(np.abs(expected.box - found.box).max()))
        if expected.mask is not None:
            iou = 0.0 if found.mask is None else float(rle.iou([expected.mask], [found.mask], [False])[0, 0])
            (self.ious_of_filled if expected.has_lost_hole else self.ious).append(iou)
        self._count("crowd", expected.crowd, found.crowd)
        self._count("difficult", expected.difficult, found.difficult)

    def _count(self, flag: Feature, expected: bool, found: bool) -> None:
        for place, value in enumerate((expected, found, expected != found)):
            self.flags[flag][place] += value

    def _expected(self, annotation: Annotation) -> list[_Object]:
        """Return the objects of a source image as the format holds them."""
        holds, names = self.writer.holds, self.plan.dataset.class_names
        objects = [_object(annotation, row, names) for row in range(len(annotation))]
        objects = [found for found in objects if "crowd" in holds or not found.crowd]
        if "thin boxes" not in holds:
            objects = [found for found in objects if (found.box[2:] - found.box[:2]).min() > 1]
        for found in objects:
            if found.mask is not None and ("masks" not in holds or _is_like_box(found.mask, found.box)):
                found.mask = None
            if found.mask is not None and "boxes beside masks" not in holds:
                found.box = mask_box(found.mask)
            if found.mask is not None and "holes" not in holds:
                found.has_lost_hole = bool(outline(found.mask).holes)
        return objects


def compare(plans: Sequence[SplitPlan], writer: type[DatasetWriter], converted: Converted) -> Mapping[str, list[Row]]:
    """Return the table of each split of a written dataset, which is read by the dataset class of its format.

    Raises:
        DataError: the written dataset cannot be read.
    """
    return {
        plan.split: SplitComparison(plan, writer, open_split(converted, plan.split, writer)).rows() for plan in plans
    }


def open_split(converted: Converted, split: str, writer: type[DatasetWriter]) -> VisionDataset:
    """Return a split of a written dataset, with masks if it has any."""
    data = converted.data
    options: dict[str, Any] = dict(data["splits"][split])
    if split in converted.masked and "masks" in writer.holds:
        options.update(formats.options_for(data["format"], "masks"))
    return CardSplits(data["format"], data["root"], {split: options}, data.get("classes")).dataset(split)


def _is_like_box(mask: Rle, box: NDArray[np.float64]) -> bool:
    """Return whether a mask is just its box, or has no pixels, so that formats with polygons write only the box."""
    return not rle.area(mask) or is_box(mask, box)


def _object(annotation: Annotation, row: int, names: Sequence[str]) -> _Object:
    return _Object(
        name=names[int(annotation.labels[row])],
        box=annotation.boxes[row].astype(np.float64),
        mask=None if annotation.masks is None else annotation.masks[row],
        crowd=bool(annotation.crowd[row]),
        difficult=bool(annotation.difficult[row]),
    )


def _match(expected: Sequence[_Object], found: Sequence[_Object]) -> list[tuple[int, int]]:
    """Return the pairs of an expected object and the nearest one of its class that is left."""
    pairs = []
    names, boxes = np.array([each.name for each in found]), np.array([each.box for each in found]).reshape(-1, 4)
    is_left = np.ones(len(found), bool)
    for first, wanted in enumerate(expected):
        same = np.flatnonzero(is_left & (names == wanted.name))
        if len(same):
            second = int(same[np.abs(boxes[same] - wanted.box).max(axis=1).argmin()])
            is_left[second] = False
            pairs.append((first, second))
    return pairs
