"""Scored images of a detector: intervals, curves, errors and calibration."""

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visionkit.metrics.bootstrap import Counts, ResampledMetrics, by_class, mean_of_defined
from visionkit.metrics.coco_backends import hotcoco_evaluation
from visionkit.metrics.coco_matches import COCO_AREAS, CocoMatches, match_as_coco
from visionkit.metrics.detection import DetectionMetric
from visionkit.metrics.detection_columns import DetectionColumns, IouType
from visionkit.metrics.detection_errors import ERROR_KINDS, DetectionErrors, find_errors
from visionkit.metrics.f1_threshold import precision_recall_f1
from visionkit.metrics.operating_point import match_at
from visionkit.metrics.reliability import find_reliability
from visionkit.metrics.resampled_ap import COCO_RECALL
from visionkit.metrics.scored_images import ScoredImages

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

IOU_THRESHOLD = 0.5
"""IoU from which a detection matches in curves, errors and calibration."""

AREA_NAMES = dict(zip(COCO_AREAS, ("all", "small", "medium", "large"), strict=True))
TIDE_NAMES = dict(zip(ERROR_KINDS, ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"), strict=True))


class ScoredDetections(ScoredImages):
    """Predictions and ground truth of a detector.

    Args:
        columns: the images.
        metrics: the metrics of the results, by the prefix of their names.
        thresholds: score threshold of each class [K] of precision, recall and F1; NaN for none.
        iou_type: whether boxes or masks are compared in curves, errors and calibration.
        matches: their matches at an IoU of 0.5, see `match_at`; None computes them.
    """

    def __init__(
        self,
        columns: DetectionColumns,
        metrics: dict[str, DetectionMetric],
        thresholds: Floats,
        iou_type: IouType = "bbox",
        matches: CocoMatches | None = None,
    ) -> None:
        super().__init__(columns.image_ids, next(iter(metrics.values())).class_names)
        self.columns, self.metrics, self.thresholds, self.iou_type = columns, metrics, thresholds, iou_type
        self._matches = matches

    @cached_property
    def matches(self) -> CocoMatches:
        """Matches of all detections at an IoU of 0.5."""
        return self._matches or match_at(self.columns, len(self.class_names), IOU_THRESHOLD, self.iou_type)

    @cached_property
    def errors(self) -> DetectionErrors:
        """Errors of all detections and objects at an IoU of 0.5."""
        return find_errors(self.columns, self.matches, self.iou_type)

    @cached_property
    def drawn(self) -> Flags:
        """Whether each prediction has at least the score threshold of its class [L]."""
        return self.columns.predicted.scores >= self.thresholds[self.columns.predicted.labels]

    @cached_property
    def drawn_columns(self) -> DetectionColumns:
        """The images with the predictions at the score thresholds only."""
        return replace(self.columns, predicted=self.columns.predicted.take(self.drawn))

    @cached_property
    def drawn_errors(self) -> DetectionErrors:
        """Errors of the predictions at the score thresholds, and objects that none of them finds."""
        matches = match_at(self.drawn_columns, len(self.class_names), IOU_THRESHOLD, self.iou_type)
        return find_errors(self.drawn_columns, matches, self.iou_type)

    def resample(self, counts: Counts) -> ResampledMetrics:
        """See `ScoredImages.resample`."""
        found = ResampledMetrics()
        for prefix, metric in self.metrics.items():
            found |= metric.resample(self.columns, counts).with_prefix(prefix)
        return found | self._resample_operating_point(counts)

    @cached_property
    def image_scores(self) -> Floats:
        """F1 of each image at the score thresholds [I]; NaN for an image without objects and boxes."""
        true_positives, selected, objects = (table.sum(axis=1) for table in self._counts())
        total = selected + objects
        return np.where(total > 0, 2 * true_positives / np.maximum(total, 1), np.nan)

    def analysis(self) -> dict[str, Any]:
        """Return the curves of precision and recall, the calibration and the errors."""
        return {
            "errors": self._error_table(),
            "calibration": self._calibration(),
            "curves": self.curves(),
        }

    def curves(self) -> dict[str, Any]:
        """Return the highest precision at 101 recalls, by class and size of the objects, at an IoU of 0.5."""
        matches = match_as_coco(self.columns, len(self.class_names), self.iou_type, tuple(COCO_AREAS), [IOU_THRESHOLD])
        curves = {}
        for label, name in enumerate(self.class_names):
            of_class = {}
            for area, suffix in enumerate(matches.areas):
                curve = self._curve(matches, label, area)
                if curve is not None:
                    of_class[AREA_NAMES[suffix]] = curve.round(4).tolist()
            curves[name] = of_class
        return {"iou_threshold": IOU_THRESHOLD, "recall": COCO_RECALL.round(2).tolist(), "precision": curves}

    def _curve(self, matches: CocoMatches, label: int, area: int) -> Floats | None:
        """Return the highest precision from each recall on [101]; None without objects."""
        predicted, true = self.columns.predicted, self.columns.true
        objects = np.count_nonzero((true.labels == label) & matches.objects[area])
        if not objects:
            return None
        rows = predicted.ranked(label)
        rows = rows[~matches.ignored[area, 0, rows]]
        true_positives = np.cumsum(matches.matched[area, 0, rows])
        precision = true_positives / np.arange(1, len(rows) + 1)
        highest = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
        return highest[np.searchsorted(true_positives / objects, COCO_RECALL, side="left")]

    def _calibration(self) -> dict[str, Any]:
        """Return the reliability of all detections, and the calibration error of each class."""
        predicted, used = self.columns.predicted, ~self.matches.ignored[0, 0]
        matched = self.matches.matched[0, 0]
        per_class = {}
        for label, name in enumerate(self.class_names):
            rows = used & (predicted.labels == label)
            per_class[name] = find_reliability(predicted.scores[rows], matched[rows]).to_dict()["error"]
        whole = find_reliability(predicted.scores[used], matched[used]).to_dict()
        return {"iou_threshold": IOU_THRESHOLD, **whole, "per_class": per_class}

    def _error_table(self) -> dict[str, Any]:
        """Return the numbers of errors of all detections and of those at the thresholds, and what each costs in AP."""
        predicted, true = self.drawn_columns.predicted, self.columns.true
        everything = np.ones(len(true), bool)
        per_class = {
            name: self.drawn_errors.counts(predicted.labels == label, true.labels == label)
            for label, name in enumerate(self.class_names)
        }
        return {
            "iou_threshold": IOU_THRESHOLD,
            "all_detections": self.errors.counts(np.ones(len(self.columns.predicted), bool), everything),
            "at_thresholds": self.drawn_errors.counts(np.ones(len(predicted), bool), everything),
            "at_thresholds_per_class": per_class,
            "lost_AP": self._lost_ap(),
        }

    def _lost_ap(self) -> dict[str, float]:
        """Return how much higher AP at an IoU of 0.5 would be without the errors of each kind (TIDE's delta AP)."""
        if not len(self.columns.true):
            return {}
        evaluation = hotcoco_evaluation(self.columns, len(self.class_names), self.iou_type)
        evaluation.evaluate()
        lost = evaluation.tide_errors(pos_thr=IOU_THRESHOLD)["delta_ap"]
        return {kind: round(float(lost[name]), 6) for kind, name in TIDE_NAMES.items()}

    def _counts(self) -> tuple[Floats, Floats, Floats]:
        """Return the numbers of true positives, of detections at the thresholds, and of objects, [I, K] each."""
        predicted, true = self.columns.predicted, self.columns.true
        used = self.drawn & ~self.matches.ignored[0, 0]
        matched = used & self.matches.matched[0, 0]
        objects = self.matches.objects[0]
        pairs = ((predicted, matched), (predicted, used), (true, objects))
        tables = [self._table(side.images[rows], side.labels[rows]) for side, rows in pairs]
        return tables[0], tables[1], tables[2]

    def _table(self, images: NDArray[np.int64], labels: NDArray[np.int64]) -> Floats:
        classes = len(self.class_names)
        cells = np.bincount(images * classes + labels, minlength=len(self) * classes)
        return cells.reshape(len(self), classes).astype(np.float64)

    def _resample_operating_point(self, counts: Counts) -> ResampledMetrics:
        """Return precision, recall and F1 of resampled images at the thresholds."""
        true_positives, selected, objects = (table.T @ counts for table in self._counts())
        columns = precision_recall_f1(true_positives, selected, objects)
        overall = {name: mean_of_defined(values) for name, values in columns.items()}
        return ResampledMetrics(overall, by_class(self.class_names, columns))
