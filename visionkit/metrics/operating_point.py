"""Where a detector is best run: precision, recall and F1 of each class at its best threshold, and what it confuses."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visionkit.metrics.backends import hotcoco_pair
from visionkit.metrics.coco_arrays import Columns, Kind, found_columns, truth_columns
from visionkit.metrics.records import DetectionMetric, Record
from visionkit.metrics.results import MetricResults, per_class_values

Floats = NDArray[np.float64]


@dataclass
class OperatingPoint:
    """K classes, each at the score threshold that gives it the highest F1.

    A class without objects has NaN throughout; one that is never predicted has recall and F1 0 and no precision.

    Attributes:
        threshold: float64 [K]; boxes with this score or more are taken.
        precision, recall, f1: float64 [K].
        confusion: int64 [K + 1, K + 1], rows what is there, columns what was predicted, last is background: its
            row counts false positives, its column missed objects. Boxes below their class's threshold, of
            classes without one, and boxes that match a crowd or difficult object are left out.
    """

    threshold: Floats
    precision: Floats
    recall: Floats
    f1: Floats
    confusion: NDArray[np.int64]

    def results(self, class_names: Sequence[str]) -> MetricResults:
        """Return precision, recall and F1 as means and per class, thresholds per class, and the confusion matrix."""
        columns = {"precision": self.precision, "recall": self.recall, "F1": self.f1}
        overall = {name: _mean(values) for name, values in columns.items()}
        columns["threshold"] = self.threshold
        per_class = {name: per_class_values(class_names, values.tolist()) for name, values in columns.items()}
        return MetricResults(overall, per_class, {"confusion": self.confusion.tolist()})


class BestF1(DetectionMetric):
    """Precision, recall, F1 and threshold at each class's best F1.

    `compute` returns the means over classes as "precision", "recall", "F1" and each class as "F1/<class>" and so
    on, with "threshold/<class>"; what is not defined is NaN. After it `point` holds the same as arrays, and the
    confusion matrix.

    Args:
        class_names: K names in label order.
        category_ids: not used; taken so that all metrics are made alike.
        iou_threshold: overlap from which a detection matches an object.
        kind: whether boxes or masks are compared.
    """

    main = "F1"

    def __init__(
        self,
        class_names: Sequence[str],
        category_ids: Sequence[int] | None = None,
        iou_threshold: float = 0.5,
        kind: Kind = "bbox",
    ) -> None:
        super().__init__(class_names)
        self.iou_threshold = iou_threshold
        self.kind: Kind = kind
        self.point: OperatingPoint | None = None

    def compute(self) -> MetricResults:
        """Return the metrics over the images of all processes."""
        records = list(self.gathered().values())
        self.point = operating_point(records, len(self.class_names), self.iou_threshold, self.kind)
        return self.point.results(self.class_names)

    def reset(self) -> None:
        """Forget all images."""
        super().reset()
        self.point = None


def operating_point(
    records: Sequence[Record], classes: int, iou_threshold: float = 0.5, kind: Kind = "bbox"
) -> OperatingPoint:
    """Find each class's best threshold, and count what is confused with what there.

    Objects and boxes of a class are matched as COCO does it, each box in falling order of score to the free object it
    overlaps most. The confusion matrix matches boxes with objects of any class in the same way.

    Args:
        records: the images.
        classes: number of classes K.
        iou_threshold: overlap from which a detection matches an object.
        kind: whether boxes or masks are compared.
    """
    truth, found = truth_columns(records, kind), found_columns(records, kind)
    sizes = [record.size for record in records]
    hit, ignored = _score_regions(truth, found, sizes, classes, iou_threshold, kind)
    objects = np.bincount(truth.labels[~truth.crowd], minlength=classes)
    of_class = [(found.labels == label) & ~ignored for label in range(classes)]
    best = [_best(found.scores[rows], hit[rows], count) for rows, count in zip(of_class, objects.tolist(), strict=True)]
    threshold, precision, recall, f1 = np.array(best, np.float64).reshape(-1, 4).T
    taken = found.keep((found.scores >= threshold[found.labels]) & ~ignored)
    confusion = _confusion(truth, taken, sizes, classes, iou_threshold, kind)
    return OperatingPoint(threshold, precision, recall, f1, confusion)


def _score_regions(
    truth: Columns, found: Columns, sizes: list[tuple[int, int]], classes: int, iou_threshold: float, kind: Kind
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For each prediction, whether it is a hit and whether it counts neither way."""
    hit, ignored = np.zeros(len(found), bool), np.zeros(len(found), bool)
    if not len(truth) or not len(found):
        return hit, ignored
    from hotcoco import COCOeval

    evaluation = COCOeval(*hotcoco_pair(truth, found, sizes, classes), kind)
    evaluation.params.iouThrs = [iou_threshold]
    evaluation.params.maxDets = [len(found)]
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0.0, 1e10]], ["all"]
    evaluation.evaluate()
    judged = [part for part in evaluation.eval_imgs if part is not None and part["dtIds"]]
    rows = np.concatenate([part["dtIds"] for part in judged]).astype(np.int64) - 1
    ignored[rows] = np.concatenate([part["dtIgnore"][0] for part in judged])
    hit[rows] = np.concatenate([part["dtMatched"][0] for part in judged])
    return hit & ~ignored, ignored


def _best(scores: Floats, hit: NDArray[np.bool_], objects: int) -> tuple[float, float, float, float]:
    """Threshold, precision, recall and F1 of one class where F1 is highest, at the highest such threshold."""
    if not objects:
        return np.nan, np.nan, np.nan, np.nan
    if not len(scores):
        return np.nan, np.nan, 0.0, 0.0
    order = np.argsort(-scores)
    ranked = scores[order]
    # A threshold takes all boxes of equal score or none: only the last of them is a point of the curve.
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    hits = np.cumsum(hit[order])[last]
    f1 = 2 * hits / (last + 1 + objects)
    best = int(f1.argmax())
    taken = int(last[best]) + 1
    return float(ranked[last[best]]), hits[best] / taken, hits[best] / objects, float(f1[best])


def _confusion(
    truth: Columns, found: Columns, sizes: list[tuple[int, int]], classes: int, iou_threshold: float, kind: Kind
) -> NDArray[np.int64]:
    if not len(truth):
        # Without objects no class has a threshold, so that no box is taken either.
        return np.zeros((classes + 1, classes + 1), np.int64)
    from hotcoco import COCOeval

    evaluation = COCOeval(*hotcoco_pair(truth, found, sizes, classes), kind)
    counted = evaluation.confusion_matrix(iou_thr=iou_threshold, max_det=max(len(found), 1))
    return np.asarray(counted["matrix"]).astype(np.int64)


def _mean(values: Floats) -> float:
    defined = values[~np.isnan(values)]
    return float(defined.mean()) if len(defined) else float("nan")
