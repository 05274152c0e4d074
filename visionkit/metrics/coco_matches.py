"""COCO's assignment of detections to objects, at all IoU thresholds and object sizes at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visionkit.metrics.box_pairs import BoxPairs, pairs_of_class
from visionkit.metrics.detection_columns import DetectionColumns, IouType

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]

COCO_IOU_THRESHOLDS = tuple(np.linspace(0.5, 0.95, 10).tolist())
COCO_AREAS = {"": (0.0, 1e10), "s": (0.0, 32.0**2), "m": (32.0**2, 96.0**2), "l": (96.0**2, 1e10)}
"""Limits of the area in square pixels, both included, by suffix of the metrics."""


@dataclass(frozen=True)
class CocoMatches:
    """Matches of L predictions with objects of their class, for A ranges of the area and T IoU thresholds.

    Attributes:
        areas: names of the ranges.
        iou_thresholds: the thresholds.
        ranks: int64 [L], place of the prediction among those of its image and class, by score.
        matched: bool [A, T, L], true positives.
        ignored: bool [A, T, L], neither true nor false positives: matched with an ignored object, not matched and
            of another size, or beyond the limit of detections.
        objects: bool [A, N], true boxes that are to be found.
        detected: bool [A, T, N], objects with a match.
    """

    areas: list[str]
    iou_thresholds: list[float]
    ranks: Indices
    matched: Flags
    ignored: Flags
    objects: Flags
    detected: Flags


def match_as_coco(
    columns: DetectionColumns,
    num_classes: int,
    iou_type: IouType = "bbox",
    areas: Sequence[str] = tuple(COCO_AREAS),
    iou_thresholds: Sequence[float] = COCO_IOU_THRESHOLDS,
    max_detections: int = 100,
) -> CocoMatches:
    """Return the matches.

    In descending order of score, each detection takes the free object with the highest IoU from the threshold on, an
    ignored one only if there is no other. Objects of another size are ignored, and crowd regions are always free.

    Args:
        columns: the images.
        num_classes: number of classes K.
        iou_type: whether boxes or masks are compared.
        areas: keys of `COCO_AREAS`.
        iou_thresholds: IoU thresholds.
        max_detections: number of detections per image and class.

    Raises:
        VisionkitError: masks are compared, and a box has none.
    """
    predicted, true = columns.predicted, columns.true
    limits = np.array([COCO_AREAS[name] for name in areas]).T[:, :, None]
    other_size = (true.areas < limits[0]) | (true.areas > limits[1])
    objects = ~(other_size | true.ignored)
    ranks = _ranks(columns, num_classes)
    thresholds = np.minimum(iou_thresholds, 1 - 1e-10)
    pairs = pairs_of_class(predicted, true, num_classes, iou_type, crowds=True, least=thresholds.min())
    pairs = pairs.where(ranks[pairs.predicted] < max_detections)
    found, taken = _assign(pairs, ranks, objects, true.ignored, thresholds, len(predicted))
    # An entry beyond the objects, for predictions without a match.
    is_object = np.concatenate([objects, np.zeros((len(areas), 1), bool)], axis=1)
    matched = np.take_along_axis(is_object[:, None], found, axis=2)
    own = predicted.compared_areas(iou_type)
    outside = (own < limits[0]) | (own > limits[1])
    is_free = found == len(true)
    ignored = ~matched & (~is_free | outside[:, None]) | (ranks >= max_detections)
    return CocoMatches(list(areas), list(iou_thresholds), ranks, matched, ignored, objects, taken & objects[:, None])


def _ranks(columns: DetectionColumns, num_classes: int) -> Indices:
    """Return the place of each prediction among those of its image and class [L]; equal scores keep their order."""
    predicted = columns.predicted
    keys = predicted.images * num_classes + predicted.labels
    order = np.lexsort([-predicted.scores, keys])
    ranks = np.empty(len(keys), np.int64)
    starts = np.flatnonzero(np.diff(keys[order], prepend=-1))
    ranks[order] = np.arange(len(keys)) - np.repeat(starts, np.diff(starts, append=len(keys)))
    return ranks


def _assign(
    pairs: BoxPairs, ranks: Indices, objects: Flags, crowds: Flags, thresholds: Floats, predictions: int
) -> tuple[Indices, Flags]:
    """Return the row of the object of each prediction, and which objects have a prediction.

    The rows are int64 [A, T, L], and the number of objects for predictions without one; the others are bool [A, T, N].

    The pairs of all detections with the same rank are processed at once, since no two of them share an object.
    """
    total = objects.shape[1]
    found = np.full((len(objects), len(thresholds), predictions), total)
    taken = np.zeros((len(objects), len(thresholds), total), bool)
    order = np.lexsort([pairs.true, pairs.predicted, ranks[pairs.predicted]])
    rank = ranks[pairs.predicted][order]
    for rows in np.split(order, np.flatnonzero(np.diff(rank)) + 1) if len(order) else []:
        _assign_round(pairs.where(rows), objects, crowds, thresholds, found, taken)
    return found, taken


def _assign_round(
    pairs: BoxPairs, objects: Flags, crowds: Flags, thresholds: Floats, found: Indices, taken: Flags
) -> None:
    """Assign detections of different images or classes, and write the results into `found` and `taken`."""
    starts = np.flatnonzero(np.diff(pairs.predicted, prepend=-1))
    sizes = np.diff(starts, append=len(pairs.predicted))
    is_free = (pairs.iou >= thresholds[:, None]) & (~taken[..., pairs.true] | crowds[pairs.true])
    wanted = is_free & objects[:, None, pairs.true]
    has_wanted = np.repeat(np.logical_or.reduceat(wanted, starts, axis=2), sizes, axis=2)
    iou = np.where(np.where(has_wanted, wanted, is_free), pairs.iou, -1.0)
    highest = np.maximum.reduceat(iou, starts, axis=2)
    is_best = (iou == np.repeat(highest, sizes, axis=2)) & (iou >= 0)
    # The last of equal ones, as in pycocotools.
    chosen = np.maximum.reduceat(np.where(is_best, np.arange(len(pairs.true)), -1), starts, axis=2)
    area, threshold, detection = np.nonzero(chosen >= 0)
    row = pairs.true[chosen[area, threshold, detection]]
    found[area, threshold, pairs.predicted[starts][detection]] = row
    taken[area, threshold, row] = True
