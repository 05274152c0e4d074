"""Pascal VOC's average precision, by the rules of its development kit (VOCevaldet.m)."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from visionkit.metrics.records import DetectionMetric, Record, detection_metrics
from visionkit.metrics.results import MetricResults, per_class_values
from visionkit.registry import Registry


class VocAP(DetectionMetric):
    """AP at one IoU threshold; `compute` gives the mean as "AP50" and each class as "AP50/<class>".

    The devkit counts a box from its first to its last pixel, inclusive and from 1, and so computes widths as
    `xmax - xmin + 1`. visionkit's boxes are edges, a VOC box (xmin, ymin, xmax, ymax) being read as
    (xmin - 1, ymin - 1, xmax, ymax). Predictions are edges as well, and stand for the devkit's box
    (x1 + 1, y1 + 1, x2, y2); so plain edge arithmetic on both sides is the devkit's arithmetic.

    Detections of the whole set are taken in falling order of score, equal scores in the order of images and
    boxes. Each is compared with the object of its class that it overlaps most: a match that nothing took before
    is a hit, a second one a miss; a match with a difficult (or crowd) object counts neither way. A class without
    objects is NaN and not in the mean.

    Args:
        class_names: K names in label order.
        category_ids: not used; taken so that all metrics are made alike.
        mode: "11-point" is VOC2007's rule, "all-point" that of VOC2010 and later.
        iou_threshold: overlap from which a detection matches; metrics are named by it (.75 gives "AP75").
    """

    def __init__(
        self,
        class_names: Sequence[str],
        category_ids: Sequence[int] | None = None,
        mode: Literal["11-point", "all-point"] = "11-point",
        iou_threshold: float = 0.5,
    ) -> None:
        super().__init__(class_names)
        self.mode, self.iou_threshold = mode, iou_threshold
        self.main = f"AP{round(100 * iou_threshold)}"
        self.area_under = averages.get(mode)

    def compute(self) -> MetricResults:
        """Return the mean AP and that of each class over the images of all processes."""
        records = list(self.gathered().values())
        values = [self._class_ap(records, label) for label in range(len(self.class_names))]
        defined = [value for value in values if not np.isnan(value)]
        mean = float(np.mean(defined)) if defined else float("nan")
        return MetricResults({self.main: mean}, {self.main: per_class_values(self.class_names, values)})

    def _class_ap(self, records: list[Record], label: int) -> float:
        parts = [_of_class(record, label) for record in records]
        positives = sum(int((~ignored).sum()) for _, _, _, ignored in parts)
        if not positives:
            return float("nan")
        matches = [_best_matches(boxes, objects) for boxes, _, objects, _ in parts]
        scores = np.concatenate([scores for _, scores, _, _ in parts])
        order = np.argsort(-scores, kind="stable")
        hit, counts = self._score_regions(matches, [ignored for *_, ignored in parts], order)
        hits, misses = np.cumsum(hit & counts), np.cumsum(~hit & counts)
        recall, precision = hits / positives, hits / np.maximum(hits + misses, 1)
        return self.area_under(recall, precision)

    def _score_regions(
        self,
        matches: list[tuple[NDArray[np.float64], NDArray[np.int64]]],
        ignored: list[NDArray[np.bool_]],
        order: NDArray[np.int64],
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """For each detection in `order`, whether it is a hit and whether it counts at all."""
        offsets = np.cumsum([0] + [len(flags) for flags in ignored])
        overlap = np.concatenate([best for best, _ in matches])[order]
        target = np.concatenate([index + offset for (_, index), offset in zip(matches, offsets, strict=False)])[order]
        matched = overlap >= self.iou_threshold
        flags = np.append(np.concatenate(ignored), False)
        target = np.where(matched, target, len(flags) - 1)
        first = np.zeros(len(order), bool)
        first[np.unique(target, return_index=True)[1]] = True
        return matched & first & ~flags[target], ~(matched & flags[target])


def _of_class(
    record: Record, label: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Detected boxes and scores of one class, its objects and which of them do not count."""
    found, true = record.labels == label, record.true_labels == label
    ignored = (record.difficult | record.crowd)[true]
    return record.boxes[found], record.scores[found], record.true_boxes[true], ignored


def _best_matches(
    boxes: NDArray[np.float64], objects: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """IoU [M] with the object that each box overlaps most, and that object's index [M]; 0 without objects."""
    if not len(objects):
        return np.zeros(len(boxes)), np.zeros(len(boxes), np.int64)
    overlap = _iou(boxes, objects)
    best = overlap.argmax(axis=1)
    return overlap[np.arange(len(boxes)), best], best


def _iou(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU [M, N] of xyxy edge boxes in float64: scores are compared with the devkit's to the last digit."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    return shared / np.maximum(areas[0][:, None] + areas[1] - shared, 1e-12)


Average = Callable[[NDArray[np.float64], NDArray[np.float64]], float]
averages: Registry[Average] = Registry("VOC average")


@averages.register("11-point")
def _eleven_points(recall: NDArray[np.float64], precision: NDArray[np.float64]) -> float:
    """Mean over recall 0, .1, ..., 1 of the best precision at that recall or above (VOC2007)."""
    # A tenth computed by division equals the devkit's 0:0.1:1; a float32 grid would miss exact recalls.
    best = [precision[recall >= tenth / 10].max(initial=0.0) for tenth in range(11)]
    return float(np.mean(best))


@averages.register("all-point")
def _all_points(recall: NDArray[np.float64], precision: NDArray[np.float64]) -> float:
    """Area under the precision-recall curve made monotonic (VOC2010 and later)."""
    recall = np.concatenate([[0.0], recall, [1.0]])
    envelope = np.maximum.accumulate(np.concatenate([[0.0], precision, [0.0]])[::-1])[::-1]
    return float(np.sum(np.diff(recall) * envelope[1:]))


@detection_metrics.register("voc07")
def voc2007(class_names: Sequence[str], category_ids: Sequence[int] | None = None) -> VocAP:
    """AP50 by the rule of VOC2007 (11-point)."""
    return VocAP(class_names, category_ids, mode="11-point")


@detection_metrics.register("voc10")
def voc2010(class_names: Sequence[str], category_ids: Sequence[int] | None = None) -> VocAP:
    """AP50 by the rule of VOC2010 and later (all-point)."""
    return VocAP(class_names, category_ids, mode="all-point")
