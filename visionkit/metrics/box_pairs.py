"""Pairs of a predicted and a true box of the same image, with their IoU."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from visionkit.metrics.detection_columns import BoxColumns, IouType

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]

MAX_PAIRS = 1_000_000
"""Number of pairs, about, whose IoU is computed at once: images with hundreds of objects have many millions."""


@dataclass(frozen=True)
class BoxPairs:
    """P pairs of rows, sorted by the predicted box and then by the true one.

    Attributes:
        predicted, true: int64 [P], rows of `DetectionColumns.predicted` and `.true`.
        iou: float64 [P].
    """

    predicted: Indices
    true: Indices
    iou: Floats

    def where(self, selected: NDArray[np.bool_] | Indices) -> "BoxPairs":
        """Return the pairs for which `selected` [P] is true, or those with the given indices."""
        return BoxPairs(self.predicted[selected], self.true[selected], self.iou[selected])


def pairs_of_class(
    predicted: BoxColumns,
    true: BoxColumns,
    num_classes: int,
    iou_type: IouType = "bbox",
    crowds: bool = False,
    least: float = 0.0,
) -> BoxPairs:
    """Return the pairs of the same image and class.

    Args:
        predicted: the predicted boxes.
        true: the true boxes.
        num_classes: number of classes K.
        iou_type: whether boxes or masks are compared.
        crowds: whether the IoU with an ignored box is the share of the predicted box that it covers, as in COCO.
        least: smallest IoU of the pairs; those of a smaller one are left out.

    Raises:
        VisionkitError: masks are compared, and a box has none.
    """
    keys = [columns.images * num_classes + columns.labels for columns in (predicted, true)]
    return _pairs(predicted, true, keys, iou_type, crowds, least)


def pairs_of_image(predicted: BoxColumns, true: BoxColumns, iou_type: IouType = "bbox", least: float = 0.0) -> BoxPairs:
    """Return the pairs of the same image, of equal and of different classes; see `pairs_of_class`."""
    return _pairs(predicted, true, [predicted.images, true.images], iou_type, False, least)


def _pairs(
    predicted: BoxColumns, true: BoxColumns, keys: Sequence[Indices], iou_type: IouType, crowds: bool, least: float
) -> BoxPairs:
    """Return the pairs with equal keys and at least the IoU `least`. Some predicted boxes are compared at a time."""
    compare = _box_iou if iou_type == "bbox" else _mask_iou
    order = np.argsort(keys[1], kind="stable")
    starts = np.searchsorted(keys[1][order], keys[0], side="left")
    counts = np.searchsorted(keys[1][order], keys[0], side="right") - starts
    ends = np.flatnonzero(np.diff(np.cumsum(counts) // MAX_PAIRS)) + 1
    parts = []
    for part in np.split(np.arange(len(counts)), ends):
        rows = np.repeat(part, counts[part])
        within = np.arange(len(rows)) - np.repeat(np.cumsum(counts[part]) - counts[part], counts[part])
        true_rows = order[np.repeat(starts[part], counts[part]) + within]
        found = BoxPairs(rows, true_rows, compare(predicted, true, rows, true_rows, crowds))
        parts.append(found.where(found.iou >= least))
    columns = ([getattr(part, name) for part in parts] for name in ("predicted", "true", "iou"))
    return BoxPairs(*map(np.concatenate, columns))


def _box_iou(predicted: BoxColumns, true: BoxColumns, rows: Indices, true_rows: Indices, crowds: bool) -> Floats:
    first, second = predicted.boxes[rows], true.boxes[true_rows]
    sides = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    intersection = np.clip(sides, 0, None).prod(axis=1)
    area, true_area = ((boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second))
    union = np.where(crowds & true.ignored[true_rows], area, area + true_area - intersection)
    return intersection / np.maximum(union, 1e-12)


def _mask_iou(predicted: BoxColumns, true: BoxColumns, rows: Indices, true_rows: Indices, crowds: bool) -> Floats:
    """Return the IoU of masks, computed by pycocotools for each group of pairs of a predicted box."""
    masks, true_masks = predicted.required_masks("prediction"), true.required_masks("target")
    iou = np.zeros(len(rows))
    bounds = [*np.flatnonzero(np.diff(rows, prepend=-1)).tolist(), len(rows)]
    for start, end in itertools.pairwise(bounds):
        others = true_rows[start:end]
        ignored = true.ignored[others].astype(np.uint8) if crowds else np.zeros(len(others), np.uint8)
        found = rle.iou([masks[rows[start]]], [true_masks[row] for row in others.tolist()], ignored.tolist())
        iou[start:end] = np.asarray(found).reshape(-1)
    return iou
