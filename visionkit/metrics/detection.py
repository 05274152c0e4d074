"""Base class and registry of the detection metrics."""

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torchmetrics import Metric

from visionkit.errors import VisionkitError
from visionkit.metrics.all_gather import all_gather_objects, process_rank
from visionkit.metrics.bootstrap import Counts, ResampledMetrics
from visionkit.metrics.detection_columns import DetectionColumns
from visionkit.metrics.image_ids import ImageId
from visionkit.metrics.results import MetricResults
from visionkit.registry import Registry


class DetectionMetric(Metric):
    """Base of the metrics of boxes and masks over a whole set of images.

    Boxes are kept as columns. `compute` gathers them from all processes, so every process must call it, also one
    without images. An image that a distributed sampler gave to two processes counts once.

    Args:
        class_names: K names in label order.

    Attributes:
        main_metric: name of the metric that selects the best checkpoint; higher is better.
        scores_masks: whether masks are scored, and not only boxes.

    Example:
        >>> import visionkit as vk
        >>> import torch
        >>> from visionkit.metrics.coco import CocoAP
        >>> metric = CocoAP(class_names=["cat"])
        >>> boxes, labels = torch.tensor([[10.0, 20.0, 50.0, 60.0]]), torch.tensor([0])
        >>> prediction = {"boxes": boxes, "scores": torch.tensor([0.9]), "labels": labels}
        >>> metric.update([prediction], [{"boxes": boxes, "labels": labels, "image_id": 1, "size": (80, 80)}])
        >>> round(metric.compute().overall["AP50"], 3)
        1.0
    """

    full_state_update = False
    main_metric: str
    scores_masks: bool = False

    def __init__(self, class_names: Sequence[str]) -> None:
        super().__init__(sync_on_compute=False)
        self.class_names = list(class_names)
        self._parts: list[DetectionColumns] = []
        self._unnamed = 0

    @property
    def image_ids(self) -> list[ImageId]:
        """Sorted ids of the images of this process."""
        return DetectionColumns.joined(self._parts).image_ids

    def update(self, predictions: Sequence[Mapping[str, Any]], targets: Sequence[Mapping[str, Any]]) -> None:
        """Add images.

        Args:
            predictions: per image `boxes` [M, 4] xyxy, `scores` [M], `labels` [M], and for mask AP `masks` (M RLEs, or
                bool [M, H, W]).
            targets: per image `boxes` [N, 4], `labels` [N], and optionally `image_id`, `size`, `crowd`, `difficult`,
                `area`, `masks`. Boxes of both are in the pixels of the original image. Images without an id are
                numbered, so each counts; the dicts of torchmetrics' `MeanAveragePrecision` can be used as they are.

        Raises:
            VisionkitError: a score or box is NaN, a label is not in 0..K-1, or fields of an image differ in length.
        """
        if len(predictions) != len(targets):
            raise VisionkitError(f"{len(predictions)} predictions for {len(targets)} images")
        columns = DetectionColumns.of_images(predictions, [self._with_id(target) for target in targets])
        columns.check_labels(len(self.class_names))
        self._parts.append(columns)

    def _with_id(self, target: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a target with an id, which no other image of any process has."""
        if "image_id" in target:
            return target
        self._unnamed += 1
        return {**target, "image_id": f"image {process_rank()}-{self._unnamed:09}"}

    def forward(self, predictions: Sequence[Mapping[str, Any]], targets: Sequence[Mapping[str, Any]]) -> None:
        """Do the same as `update`; metrics of the batch alone would need communication between processes."""
        self.update(predictions, targets)

    def compute(self) -> MetricResults:
        """Return the metrics over the images of all processes."""
        return self.score(self.gathered_columns())

    @abstractmethod
    def score(self, columns: DetectionColumns) -> MetricResults:
        """Return the metrics of some images."""

    def resample(self, columns: DetectionColumns, counts: Counts) -> ResampledMetrics:
        """Return the metrics of resampled images, 0..1; none for a metric without confidence intervals.

        Args:
            columns: the images.
            counts: how often each resample draws each image, [I, R].
        """
        return ResampledMetrics()

    def reset(self) -> None:
        """Remove all images."""
        super().reset()
        self._parts, self._unnamed = [], 0

    def gathered_columns(self) -> DetectionColumns:
        """Return the images of all processes, sorted by id, since equal scores are ranked in this order."""
        return DetectionColumns.joined(part for parts in all_gather_objects(self._parts) for part in parts)


detection_metrics: Registry[Callable[..., DetectionMetric]] = Registry("metric", "visionkit.metrics")
"""Metrics of `evaluation.metric`; each entry is called as `entry(class_names=...)`."""

register_metric = detection_metrics.register
