"""COCO's average precision and average recall (https://cocodataset.org/#detection-eval)."""

import logging
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from visionkit.metrics.bootstrap import Counts, ResampledMetrics
from visionkit.metrics.coco_backends import PrecisionRecall, coco_backends
from visionkit.metrics.coco_matches import match_as_coco
from visionkit.metrics.detection import DetectionMetric, detection_metrics
from visionkit.metrics.detection_columns import BoxColumns, DetectionColumns, IouType
from visionkit.metrics.resampled_coco import IOU_50, IOU_75, resample_coco
from visionkit.metrics.results import MetricResults, per_class_values

logger = logging.getLogger("visionkit")

ALL_AREAS = 0
AREAS = {"s": 1, "m": 2, "l": 3}
"""Index on the area axis by suffix of the metric: small (< 32^2), medium, large (> 96^2 square pixels)."""
IOU_THRESHOLDS, RECALL_POINTS = 10, 101

MASK = "mask_"
"""Prefix of the metrics of masks."""


@detection_metrics.register("coco")
class CocoAP(DetectionMetric):
    """COCO's AP over IoU 0.50 to 0.95, AP50, AP75, AP and AR by object size, AR by number of detections.

    The results are the twelve numbers of COCO's table, `overall` (AP, AP50, AP75, APs, APm, APl, AR1, AR10,
    AR100, ARs, ARm, ARl), and AP and AP50 `per_class`. A value without objects is NaN. Crowd regions follow
    pycocotools. COCO has no difficult objects as in VOC; they are taken as crowd regions. `extras` has AR100 of each
    class, and the names of the classes with objects or predictions.

    Args:
        class_names: K names in label order.
        iou_type: whether boxes ("bbox") or masks ("segm") are compared.
        backend: hotcoco (fast) or pycocotools (the reference); both give the same numbers.
        max_detections: numbers of detections per image and class at which AR is computed; AP uses the largest.

    Example:
        >>> import torch
        >>> from visionkit.metrics.coco import CocoAP
        >>> boxes, labels = torch.tensor([[10.0, 10, 50, 40]]), torch.tensor([0])
        >>> metric = CocoAP(["cat", "dog"])
        >>> metric.update(
        ...     [{"boxes": boxes, "scores": torch.tensor([0.9]), "labels": labels}],
        ...     [{"boxes": boxes, "labels": labels, "image_id": 1, "size": (60, 80)}],
        ... )
        >>> round(metric.compute().overall["AP50"], 3)
        1.0
    """

    main_metric = "AP"

    def __init__(
        self,
        class_names: Sequence[str],
        iou_type: IouType = "bbox",
        backend: Literal["hotcoco", "pycocotools"] = "hotcoco",
        max_detections: Sequence[int] = (1, 10, 100),
    ) -> None:
        super().__init__(class_names)
        self.iou_type: IouType = iou_type
        self.scores_masks = iou_type == "segm"
        self.backend = coco_backends.get(backend)
        self.max_detections = sorted(max_detections)
        self._warned = False

    def score(self, columns: DetectionColumns) -> MetricResults:
        """See `DetectionMetric.score`."""
        return self._score(columns, self.iou_type)

    def resample(self, columns: DetectionColumns, counts: Counts) -> ResampledMetrics:
        """See `DetectionMetric.resample`."""
        return self._resample(columns, counts, self.iou_type)

    def _resample(self, columns: DetectionColumns, counts: Counts, iou_type: IouType) -> ResampledMetrics:
        matches = match_as_coco(columns, len(self.class_names), iou_type, max_detections=self.max_detections[-1])
        return resample_coco(columns, matches, self.class_names, counts, self.max_detections)

    def _score(self, columns: DetectionColumns, iou_type: IouType) -> MetricResults:
        self._warn_of_detection_limit(columns.true)
        found = self._precision_recall(columns, iou_type)
        return MetricResults(self._overall(found), self._per_class(found.precision), self._extras(columns, found))

    def _precision_recall(self, columns: DetectionColumns, iou_type: IouType) -> PrecisionRecall:
        if not len(columns.true):
            areas, limits = 1 + len(AREAS), len(self.max_detections)
            shape = (IOU_THRESHOLDS, RECALL_POINTS, len(self.class_names))
            return PrecisionRecall(
                -np.ones((*shape, areas)), -np.ones((shape[0], shape[2], areas)), -np.ones((shape[0], shape[2], limits))
            )
        return self.backend(columns, len(self.class_names), iou_type, self.max_detections)

    def _overall(self, found: PrecisionRecall) -> dict[str, float]:
        precision, recall = found.precision, found.recall
        metrics = {
            "AP": _mean(precision[..., ALL_AREAS]),
            "AP50": _mean(precision[IOU_50, ..., ALL_AREAS]),
            "AP75": _mean(precision[IOU_75, ..., ALL_AREAS]),
        }
        metrics |= {f"AP{suffix}": _mean(precision[..., area]) for suffix, area in AREAS.items()}
        limits = enumerate(self.max_detections)
        metrics |= {f"AR{limit}": _mean(found.limited_recall[..., index]) for index, limit in limits}
        return metrics | {f"AR{suffix}": _mean(recall[..., area]) for suffix, area in AREAS.items()}

    def _per_class(self, precision: NDArray[np.float64]) -> dict[str, dict[str, float]]:
        of_classes = precision[..., ALL_AREAS]
        columns = {"AP": _class_means(of_classes), "AP50": _class_means(of_classes[:1])}
        return {name: per_class_values(self.class_names, values) for name, values in columns.items()}

    def _extras(self, columns: DetectionColumns, found: PrecisionRecall) -> dict[str, Any]:
        """Return what torchmetrics also has: AR of each class, and the classes that occur."""
        means = _class_means(found.limited_recall[:, None, :, -1])
        observed = set(columns.true.labels.tolist()) | set(columns.predicted.labels.tolist())
        return {
            f"AR{self.max_detections[-1]}_per_class": {
                name: None if np.isnan(mean) else mean for name, mean in zip(self.class_names, means, strict=True)
            },
            "observed_classes": [name for label, name in enumerate(self.class_names) if label in observed],
        }

    def _warn_of_detection_limit(self, true: BoxColumns) -> None:
        """Warn once of an image with more objects of one class than detections that are scored."""
        image_and_class = (true.images * len(self.class_names) + true.labels)[~true.ignored]
        objects = np.unique(image_and_class, return_counts=True)[1].max(initial=0)
        if objects > self.max_detections[-1] and not self._warned:
            self._warned = True
            logger.warning(
                "an image has %d objects of one class, but only %d detections per image and class are scored: "
                "raise max_detections",
                objects,
                self.max_detections[-1],
            )


@detection_metrics.register("coco_masks")
class CocoMaskAP(CocoAP):
    """COCO's metrics of masks, with the prefix `mask_`, and of boxes; see `CocoAP`.

    Args:
        class_names: K names in label order.
        backend: see `CocoAP`.

    Example:
        >>> from visionkit.metrics.coco import CocoMaskAP
        >>> metric = CocoMaskAP(["cat", "dog"])
        >>> metric.main_metric
        'mask_AP'
    """

    main_metric = "mask_AP"

    def __init__(self, class_names: Sequence[str], backend: Literal["hotcoco", "pycocotools"] = "hotcoco") -> None:
        super().__init__(class_names, backend=backend)
        self.scores_masks = True

    def score(self, columns: DetectionColumns) -> MetricResults:
        """See `DetectionMetric.score`."""
        return self._score(columns, "segm").with_prefix(MASK) | self._score(columns, "bbox")

    def resample(self, columns: DetectionColumns, counts: Counts) -> ResampledMetrics:
        """See `DetectionMetric.resample`."""
        masks = self._resample(columns, counts, "segm").with_prefix(MASK)
        return masks | self._resample(columns, counts, "bbox")


def _class_means(values: NDArray[np.float64]) -> list[float]:
    """Return the mean of the values of each class that are defined [K], NaN if none is, of values [T, R, K]."""
    is_defined = values > -1
    number = is_defined.sum(axis=(0, 1))
    total = np.where(is_defined, values, 0).sum(axis=(0, 1))
    means: list[float] = np.where(number > 0, total / np.maximum(number, 1), np.nan).tolist()
    return means


def _mean(values: NDArray[np.float64]) -> float:
    """Return the mean of the values that are defined, NaN if none is."""
    defined = values[values > -1]
    return float(defined.mean()) if len(defined) else float("nan")
