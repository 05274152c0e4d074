"""COCO's average precision and recall (cocodataset.org/#detection-eval), from tensors to the twelve numbers."""

import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from visionkit.metrics.backends import Curves, backends
from visionkit.metrics.coco_arrays import Columns, Kind, found_columns, truth_columns
from visionkit.metrics.records import DetectionMetric, Record, detection_metrics
from visionkit.metrics.results import MetricResults, per_class_values

logger = logging.getLogger("visionkit")

AREAS = {"": 0, "s": 1, "m": 2, "l": 3}
"""Suffix of a figure and its index on the area axis: all, small (< 32^2), medium, large (> 96^2 square pixels)."""
IOU_50, IOU_75 = 0, 5


@detection_metrics.register("coco")
class CocoAP(DetectionMetric):
    """AP over IoU .50 to .95, AP50, AP75, AP and AR by object size, AR by number of detections.

    `compute` returns these by name, and AP and AP50 of each class as "AP/<class>"; what is not defined
    because there are no such objects is NaN. Crowds follow pycocotools; VOC's difficult objects, which COCO
    does not know, are taken as crowds.

    Args:
        class_names: K names in label order.
        category_ids: not used; taken so that all metrics are made alike.
        kind: whether boxes or masks are compared.
        backend: hotcoco (fast) or pycocotools (the reference); they give the same numbers.
        max_detections: limits an image and class for AR; AP takes the last.
    """

    main = "AP"

    def __init__(
        self,
        class_names: Sequence[str],
        category_ids: Sequence[int] | None = None,
        kind: Kind = "bbox",
        backend: Literal["hotcoco", "pycocotools"] = "hotcoco",
        max_detections: Sequence[int] = (1, 10, 100),
    ) -> None:
        super().__init__(class_names)
        self.kind: Kind = kind
        self.evaluate = backends.get(backend)
        self.max_detections = sorted(max_detections)
        self._warned = False

    def compute(self) -> MetricResults:
        """Return the metrics over the images of all processes."""
        return self._metrics(list(self.gathered().values()), self.kind)

    def _metrics(self, records: list[Record], kind: Kind) -> MetricResults:
        truth, found = truth_columns(records, kind), found_columns(records, kind)
        self._warn_of_crowded_images(truth)
        precision, recall = self._curves(truth, found, records, kind)
        return MetricResults(self._overall(precision, recall), self._per_class(precision))

    def _curves(self, truth: Columns, found: Columns, records: list[Record], kind: Kind) -> Curves:
        if not len(truth):
            shape = (10, 101, len(self.class_names), 4, len(self.max_detections))
            return -np.ones(shape), -np.ones((10, *shape[2:]))
        sizes = [record.size for record in records]
        return self.evaluate(truth, found, sizes, len(self.class_names), kind, self.max_detections)

    def _overall(self, precision: NDArray[np.float64], recall: NDArray[np.float64]) -> dict[str, float]:
        metrics = {"AP": _mean(precision[..., 0, -1])}
        metrics["AP50"] = _mean(precision[IOU_50, ..., 0, -1])
        metrics["AP75"] = _mean(precision[IOU_75, ..., 0, -1])
        by_size = {suffix: area for suffix, area in AREAS.items() if suffix}
        metrics |= {f"AP{suffix}": _mean(precision[..., area, -1]) for suffix, area in by_size.items()}
        metrics |= {f"AR{limit}": _mean(recall[..., 0, index]) for index, limit in enumerate(self.max_detections)}
        return metrics | {f"AR{suffix}": _mean(recall[..., area, -1]) for suffix, area in by_size.items()}

    def _per_class(self, precision: NDArray[np.float64]) -> dict[str, dict[str, float]]:
        labels = range(len(self.class_names))
        columns = {
            "AP": [_mean(precision[:, :, label, 0, -1]) for label in labels],
            "AP50": [_mean(precision[IOU_50, :, label, 0, -1]) for label in labels],
        }
        return {name: per_class_values(self.class_names, values) for name, values in columns.items()}

    def _warn_of_crowded_images(self, truth: Columns) -> None:
        image_and_class = np.column_stack([truth.image_ids, truth.labels])[~truth.crowd]
        most = np.unique(image_and_class, axis=0, return_counts=True)[1].max(initial=0)
        if most > self.max_detections[-1] and not self._warned:
            self._warned = True
            logger.warning(
                "an image has %d objects of one class, and only %d detections of a class are scored in an image: "
                "raise max_detections",
                most,
                self.max_detections[-1],
            )


@detection_metrics.register("coco_masks")
class CocoMaskAP(CocoAP):
    """The metrics of masks as "mask_AP" and so on, and beside them those of the boxes; see `CocoAP`.

    Args:
        class_names: K names in label order.
        category_ids: not used; taken so that all metrics are made alike.
        backend: as of `CocoAP`.
    """

    main = "mask_AP"

    def __init__(
        self,
        class_names: Sequence[str],
        category_ids: Sequence[int] | None = None,
        backend: Literal["hotcoco", "pycocotools"] = "hotcoco",
    ) -> None:
        super().__init__(class_names, backend=backend)

    def compute(self) -> MetricResults:
        """Return the metrics over the images of all processes."""
        records = list(self.gathered().values())
        return self._metrics(records, "segm").with_prefix("mask_") | self._metrics(records, "bbox")


def _mean(values: NDArray[np.float64]) -> float:
    defined = values[values > -1]
    return float(defined.mean()) if len(defined) else float("nan")
