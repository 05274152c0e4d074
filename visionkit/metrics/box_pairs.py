"""Pairs of a predicted and a true box of the same image, with their IoU."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from visionkit.metrics.detection_columns import BoxColumns, IouType

Floats = NDArray[np.float64]
Indices = NDArray[np.int64]


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
    predicted: BoxColumns, true: BoxColumns, num_classes: int, iou_type: IouType = "bbox", crowds: bool = False
) -> BoxPairs:
    """Return all pairs of the same image and class.

    Args:
        predicted: the predicted boxes.
        true: the true boxes.
        num_classes: number of classes K.
        iou_type: whether boxes or masks are compared.
        crowds: whether the IoU with an ignored box is the share of the predicted box that it covers, as in COCO.

    Raises:
        VisionkitError: masks are compared, and a box has none.
    """
    keys = [columns.images * num_classes + columns.labels for columns in (predicted, true)]
    rows = _equal_keys(*keys)
    return BoxPairs(*rows, _iou(predicted, true, *rows, iou_type, crowds))


def pairs_of_image(predicted: BoxColumns, true: BoxColumns, iou_type: IouType = "bbox") -> BoxPairs:
    """Return all pairs of the same image, of equal and of different classes; see `pairs_of_class`."""
    rows = _equal_keys(predicted.images, true.images)
    return BoxPairs(*rows, _iou(predicted, true, *rows, iou_type, False))


def _iou(
    predicted: BoxColumns, true: BoxColumns, rows: Indices, true_rows: Indices, iou_type: IouType, crowds: bool
) -> Floats:
    compare = _box_iou if iou_type == "bbox" else _mask_iou
    return compare(predicted, true, rows, true_rows, crowds)


def _equal_keys(first: Indices, second: Indices) -> tuple[Indices, Indices]:
    """Return the rows of all pairs with equal keys, sorted by the first row and then by the second."""
    order = np.argsort(second, kind="stable")
    starts = np.searchsorted(second[order], first, side="left")
    counts = np.searchsorted(second[order], first, side="right") - starts
    rows = np.repeat(np.arange(len(first)), counts)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows, order[np.repeat(starts, counts) + within]


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
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    for start, end in zip(starts.tolist(), [*starts[1:].tolist(), len(rows)], strict=True):
        others = true_rows[start:end]
        ignored = true.ignored[others].astype(np.uint8) if crowds else np.zeros(len(others), np.uint8)
        found = rle.iou([masks[rows[start]]], [true_masks[row] for row in others.tolist()], ignored.tolist())
        iou[start:end] = np.asarray(found).reshape(-1)
    return iou
