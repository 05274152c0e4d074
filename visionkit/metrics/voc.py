"""Pascal VOC's average precision, by the rules of its development kit (VOCevaldet.m)."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from visionkit.metrics.bootstrap import Counts, ResampledMetrics, mean_of_defined
from visionkit.metrics.box_pairs import BoxPairs, pairs_of_class
from visionkit.metrics.detection import DetectionMetric, detection_metrics
from visionkit.metrics.detection_columns import DetectionColumns
from visionkit.metrics.resampled_ap import VOC2007_RECALL, RankedDetections
from visionkit.metrics.results import MetricResults, per_class_values
from visionkit.registry import Registry

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class VocAP(DetectionMetric):
    """AP at one IoU threshold, as mean over the classes and per class, named by the threshold ("AP50").

    Detections of one class are processed in descending order of score; equal scores in the order of images and boxes.
    Each is compared with the object of its class with the highest IoU. It is a true positive if that object is not
    matched yet, otherwise a false positive. Matches with difficult objects or crowd regions are ignored. A class
    without objects is NaN and left out of the mean.

    The development kit uses inclusive pixel indices that start at 1, so that a width is `xmax - xmin + 1`. Boxes of
    visionkit are edges: the VOC box (xmin, ymin, xmax, ymax) is read as (xmin - 1, ymin - 1, xmax, ymax). Predictions
    are edges as well. The IoU of edge boxes therefore equals that of the development kit.

    Args:
        class_names: K names in label order.
        mode: "11-point" is the rule of VOC2007, "all-point" that of VOC2010 and later.
        iou_threshold: IoU from which a detection matches; 0.75 gives "AP75".

    Example:
        >>> import torch
        >>> from visionkit.metrics.voc import VocAP
        >>> boxes, labels = torch.tensor([[10.0, 10, 50, 40]]), torch.tensor([0])
        >>> metric = VocAP(["cat", "dog"])
        >>> prediction = {"boxes": boxes, "scores": torch.tensor([0.9]), "labels": labels}
        >>> metric.update([prediction], [{"boxes": boxes, "labels": labels, "image_id": 1}])
        >>> metric.compute().per_class
        {'AP50': {'cat': 1.0, 'dog': nan}}
    """

    def __init__(
        self,
        class_names: Sequence[str],
        mode: Literal["11-point", "all-point"] = "11-point",
        iou_threshold: float = 0.5,
    ) -> None:
        super().__init__(class_names)
        self.mode, self.iou_threshold = mode, iou_threshold
        self.main_metric = f"AP{round(100 * iou_threshold)}"
        self.average_precision = ap_rules.get(mode)

    def score(self, columns: DetectionColumns) -> MetricResults:
        """Return the mean AP and that of each class."""
        matched, counted = match_as_voc(columns, len(self.class_names), self.iou_threshold)
        values = [self._class_ap(columns, label, matched, counted) for label in range(len(self.class_names))]
        defined = [value for value in values if not np.isnan(value)]
        mean = float(np.mean(defined)) if defined else float("nan")
        return MetricResults({self.main_metric: mean}, {self.main_metric: per_class_values(self.class_names, values)})

    def resample(self, columns: DetectionColumns, counts: Counts) -> ResampledMetrics:
        """See `DetectionMetric.resample`."""
        matched, counted = match_as_voc(columns, len(self.class_names), self.iou_threshold)
        predicted, true = columns.predicted, columns.true
        values = {}
        for label, name in enumerate(self.class_names):
            rows = predicted.ranked(label)
            objects = true.images[(true.labels == label) & ~true.ignored]
            ranked = RankedDetections(predicted.images[rows], matched[None, rows], ~counted[None, rows], objects)
            values[name] = ranked.average_precision(counts, RECALL_POINTS[self.mode])[0][0]
        mean = mean_of_defined(np.stack(list(values.values())))
        return ResampledMetrics({self.main_metric: mean}, {self.main_metric: values})

    def _class_ap(self, columns: DetectionColumns, label: int, matched: Flags, counted: Flags) -> float:
        objects = np.count_nonzero((columns.true.labels == label) & ~columns.true.ignored)
        if not objects:
            return float("nan")
        rows = columns.predicted.ranked(label)
        rows = rows[counted[rows]]
        true_positives = np.cumsum(matched[rows])
        return self.average_precision(true_positives / objects, true_positives / np.arange(1, len(rows) + 1))


def match_as_voc(columns: DetectionColumns, num_classes: int, iou_threshold: float = 0.5) -> tuple[Flags, Flags]:
    """Return for each prediction whether it is a true positive, and whether it counts at all, by the rules of `VocAP`.

    Args:
        columns: the images.
        num_classes: number of classes K.
        iou_threshold: IoU from which a detection matches.

    Returns:
        bool [L] of the predicted boxes, twice.
    """
    predicted, true = columns.predicted, columns.true
    pairs = _best_pairs(pairs_of_class(predicted, true, num_classes, least=iou_threshold))
    ranked = np.argsort(-predicted.scores[pairs.predicted], kind="stable")
    first = ranked[np.unique(pairs.true[ranked], return_index=True)[1]]
    matched, counted = np.zeros(len(predicted), bool), np.ones(len(predicted), bool)
    matched[pairs.predicted[first]] = ~true.ignored[pairs.true[first]]
    counted[pairs.predicted[true.ignored[pairs.true]]] = False
    return matched, counted


def _best_pairs(pairs: BoxPairs) -> BoxPairs:
    """Return the pair of the highest IoU of each predicted box, the first of equal ones."""
    order = np.lexsort([pairs.true, -pairs.iou, pairs.predicted])
    is_best = np.zeros(len(order), bool)
    is_best[order[np.unique(pairs.predicted[order], return_index=True)[1]]] = True
    return pairs.where(is_best)


RECALL_POINTS = {"11-point": VOC2007_RECALL, "all-point": None}
"""Argument of `RankedDetections.average_precision` for each rule."""

ApRule = Callable[[Floats, Floats], float]
"""Return the AP of recall and precision [M]."""

ap_rules: Registry[ApRule] = Registry("rule of VOC's AP")


@ap_rules.register("11-point")
def _eleven_point_ap(recall: Floats, precision: Floats) -> float:
    """Return the mean over recall 0, 0.1, ..., 1 of the highest precision at that recall or above (VOC2007)."""
    # A tenth computed by division equals the devkit's 0:0.1:1; a float32 grid would miss exact recalls.
    highest = [precision[recall >= tenth / 10].max(initial=0.0) for tenth in range(11)]
    return float(np.mean(highest))


@ap_rules.register("all-point")
def _all_point_ap(recall: Floats, precision: Floats) -> float:
    """Return the area under the monotonic precision-recall curve (VOC2010 and later)."""
    recall = np.concatenate([[0.0], recall, [1.0]])
    envelope = np.maximum.accumulate(np.concatenate([[0.0], precision, [0.0]])[::-1])[::-1]
    return float(np.sum(np.diff(recall) * envelope[1:]))


@detection_metrics.register("voc07")
def voc2007(class_names: Sequence[str]) -> VocAP:
    """Return AP50 by the rule of VOC2007 (11-point)."""
    return VocAP(class_names, mode="11-point")


@detection_metrics.register("voc10")
def voc2010(class_names: Sequence[str]) -> VocAP:
    """Return AP50 by the rule of VOC2010 and later (all-point)."""
    return VocAP(class_names, mode="all-point")
