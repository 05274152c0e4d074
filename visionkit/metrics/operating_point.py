"""The score threshold with the highest F1 per class, precision and recall at a threshold, and the confusion matrix."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from visionkit.metrics.bootstrap import mean_of_defined
from visionkit.metrics.coco_backends import hotcoco_evaluation
from visionkit.metrics.coco_matches import CocoMatches, match_as_coco
from visionkit.metrics.detection import DetectionMetric
from visionkit.metrics.detection_columns import DetectionColumns, IouType
from visionkit.metrics.f1_threshold import ThresholdPoint, at_threshold, best_threshold
from visionkit.metrics.results import MetricResults, per_class_values

Floats = NDArray[np.float64]


@dataclass
class OperatingPoint:
    """Precision, recall and F1 of K classes, each at its own score threshold.

    A class without objects has NaN as precision, recall and F1. A class without a threshold has recall and F1 0, and
    NaN as precision: none of its boxes is used.

    Attributes:
        threshold: float64 [K]; boxes with this score or more are used.
        precision, recall, f1: float64 [K].
        confusion: int64 [K + 1, K + 1], rows are the true classes, columns the predicted ones, the last is background:
            its row counts false positives, its column missed objects. Boxes below the threshold of their class, boxes
            of classes without a threshold and boxes that match a crowd region or difficult object are left out.
    """

    threshold: Floats
    precision: Floats
    recall: Floats
    f1: Floats
    confusion: NDArray[np.int64]

    def results(self, class_names: Sequence[str]) -> MetricResults:
        """Return precision, recall and F1 as means and per class, thresholds per class, and the confusion matrix."""
        columns = {"precision": self.precision, "recall": self.recall, "F1": self.f1}
        overall = {name: float(mean_of_defined(values)) for name, values in columns.items()}
        columns["threshold"] = self.threshold
        per_class = {name: per_class_values(class_names, values.tolist()) for name, values in columns.items()}
        return MetricResults(overall, per_class, {"confusion": self.confusion.tolist()})


class BestF1(DetectionMetric):
    """Precision, recall, F1 and threshold at the highest F1 of each class.

    `compute` returns the means of precision, recall and F1 as `overall`, all four `per_class`, and the confusion
    matrix in `extras`, see `OperatingPoint`.

    Args:
        class_names: K names in label order.
        iou_threshold: IoU from which a detection matches an object.
        iou_type: whether boxes ("bbox") or masks ("segm") are compared.

    Attributes:
        operating_point: the results of the last `compute` as arrays; None before.

    Example:
        >>> import torch
        >>> from visionkit.metrics.operating_point import BestF1
        >>> boxes, labels = torch.tensor([[0.0, 0, 40, 40], [50, 0, 90, 40]]), torch.tensor([0, 0])
        >>> metric = BestF1(["cat"])
        >>> metric.update(
        ...     [{"boxes": boxes, "scores": torch.tensor([0.75, 0.25]), "labels": labels}],
        ...     [{"boxes": boxes[:1], "labels": labels[:1], "image_id": 1, "size": (60, 90)}],
        ... )
        >>> results = metric.compute()
        >>> results.overall["F1"], results.per_class["threshold"]["cat"]
        (1.0, 0.75)
    """

    main_metric = "F1"

    def __init__(self, class_names: Sequence[str], iou_threshold: float = 0.5, iou_type: IouType = "bbox") -> None:
        super().__init__(class_names)
        self.iou_threshold = iou_threshold
        self.iou_type: IouType = iou_type
        self.operating_point: OperatingPoint | None = None

    def score(self, columns: DetectionColumns) -> MetricResults:
        """See `DetectionMetric.score`."""
        self.operating_point = find_operating_point(columns, len(self.class_names), self.iou_threshold, self.iou_type)
        return self.operating_point.results(self.class_names)

    def reset(self) -> None:
        """Remove all images."""
        super().reset()
        self.operating_point = None


def find_operating_point(
    columns: DetectionColumns,
    num_classes: int,
    iou_threshold: float = 0.5,
    iou_type: IouType = "bbox",
    thresholds: Sequence[float | None] | None = None,
    matches: CocoMatches | None = None,
) -> OperatingPoint:
    """Return the operating point of each class, and the confusion matrix there.

    Objects and boxes of one class are matched as in COCO: boxes in descending order of score, each with the unmatched
    object of the highest IoU. The confusion matrix matches boxes with objects of any class in the same way.

    Args:
        columns: the images.
        num_classes: number of classes K.
        iou_threshold: IoU from which a detection matches an object.
        iou_type: whether boxes or masks are compared.
        thresholds: score threshold of each class, which must come from other images for the results to be unbiased; a
            class with None has no threshold. Without them, those with the highest F1 on the images themselves.
        matches: what `match_at` returns for these images and thresholds; None computes it.
    """
    predicted = columns.predicted
    matches = matches or match_at(columns, num_classes, iou_threshold, iou_type)
    points = _points(columns, matches, num_classes, thresholds)
    threshold, precision, recall, f1 = np.array(points, np.float64).reshape(-1, 4).T
    selected = predicted.take((predicted.scores >= threshold[predicted.labels]) & ~matches.ignored[0, 0])
    confusion = _confusion_matrix(replace(columns, predicted=selected), num_classes, iou_threshold, iou_type)
    return OperatingPoint(threshold, precision, recall, f1, confusion)


def match_at(
    columns: DetectionColumns, num_classes: int, iou_threshold: float = 0.5, iou_type: IouType = "bbox"
) -> CocoMatches:
    """Return the matches of all detections with objects of all sizes at one IoU threshold."""
    most = max(len(columns.predicted), 1)
    return match_as_coco(columns, num_classes, iou_type, [""], [iou_threshold], max_detections=most)


def best_thresholds(metric: DetectionMetric) -> list[float | None]:
    """Return the score threshold with the highest F1 of each class on the images of a metric, in all processes.

    Returns:
        K thresholds, None for a class without objects or predictions.
    """
    columns, num_classes = metric.gathered_columns(), len(metric.class_names)
    points = _points(columns, match_at(columns, num_classes), num_classes, None)
    return [None if np.isnan(point.threshold) else point.threshold for point in points]


def _points(
    columns: DetectionColumns, matches: CocoMatches, num_classes: int, thresholds: Sequence[float | None] | None
) -> list[ThresholdPoint]:
    """Return the point of each class at its threshold, or without thresholds that of the highest F1."""
    true, predicted = columns.true, columns.predicted
    matched, ignored = matches.matched[0, 0], matches.ignored[0, 0]
    objects = np.bincount(true.labels[~true.ignored], minlength=num_classes).tolist()
    points = []
    for label in range(num_classes):
        rows = (predicted.labels == label) & ~ignored
        of_class = predicted.scores[rows], matched[rows], objects[label]
        points.append(best_threshold(*of_class) if thresholds is None else at_threshold(*of_class, thresholds[label]))
    return points


def _confusion_matrix(
    columns: DetectionColumns, num_classes: int, iou_threshold: float, iou_type: IouType
) -> NDArray[np.int64]:
    if not len(columns.true):
        # Without objects no class has a threshold, so that no box is selected either.
        return np.zeros((num_classes + 1, num_classes + 1), np.int64)
    evaluation = hotcoco_evaluation(columns, num_classes, iou_type)
    counted = evaluation.confusion_matrix(iou_thr=iou_threshold, max_det=max(len(columns.predicted), 1))
    return np.asarray(counted["matrix"]).astype(np.int64)
