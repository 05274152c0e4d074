"""Base class of classification and segmentation: logits of K classes and a loss with class weights."""

from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor

from visionkit.data.datamodule import VisionData
from visionkit.errors import ConfigError
from visionkit.metrics.all_gather import all_gather_dict
from visionkit.metrics.results import MetricResults
from visionkit.metrics.scored_images import ScoredImages
from visionkit.ops.class_weights import class_weights
from visionkit.pipelines.base import Pipeline
from visionkit.pipelines.classification import ClassificationPipeline
from visionkit.pipelines.runtime import RuntimeOptions
from visionkit.pipelines.segmentation import SegmentationPipeline
from visionkit.tasks.base import Task
from visionkit.tasks.optimizers import OptimizerOptions
from visionkit.tasks.schedules import ScheduleOptions
from visionkit.tasks.training_errors import explain_batch_norm_error


class ClassLossOptions(Protocol):
    """Options of a `loss` section: a dataclass with at least this field."""

    class_weights: Any


WeightedLogits = Callable[[Tensor], list[tuple[float, Tensor]]]


class LogitsTask(Task):
    """Base class of classification and segmentation, with logits of K classes per image or per pixel.

    Args:
        pipeline: pipeline whose network is trained.
        optimizer: optimizer and learning rates.
        schedule: learning rate schedule.
        loss: options of the training loss.

    Attributes:
        class_weights: weight of each class in the loss, float32 [K]; None for equal weights.
        rows: predictions of the most recently scored images by image id, for predictions.json.
        image_results: parts of the metrics of these images, for confidence intervals.
    """

    class_weights: Tensor | None
    loss_options: ClassLossOptions

    def __init__(
        self,
        pipeline: Pipeline[Any, Any],
        optimizer: OptimizerOptions | None,
        schedule: ScheduleOptions | None,
        loss: ClassLossOptions,
    ) -> None:
        super().__init__(pipeline, optimizer, schedule)
        self.loss_options = loss
        self.register_buffer("class_weights", None, persistent=False)
        self.rows: dict[int | str, dict[str, Any]] = {}
        self.image_results: dict[int | str, Any] = {}

    @property
    def model_pipeline(self) -> ClassificationPipeline | SegmentationPipeline:
        """See `Task.model_pipeline`."""
        pipeline = super().model_pipeline
        assert isinstance(pipeline, (ClassificationPipeline, SegmentationPipeline))
        return pipeline

    @property
    def runtime_options(self) -> RuntimeOptions:
        """Memory layout and compilation of the network."""
        return self.model_pipeline.runtime_options

    def count_classes(self, data: VisionData) -> tuple[Tensor, Tensor | None]:
        """Count the classes of the training split.

        Returns:
            Number of occurrences of each class [K], and the divisor for median frequencies [K]; see `class_weights`.
        """
        raise NotImplementedError

    def loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Return the loss of the logits of one head."""
        raise NotImplementedError

    def predictions_for_json(self) -> list[dict[str, Any]]:
        """Return the id and the prediction of each image."""
        return [{"image_id": image_id, **row} for image_id, row in self.rows.items()]

    def weighted_losses(self, compute: WeightedLogits, x: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """Return the weighted loss of each head: `loss_main`, and `loss_head1` and so on of auxiliary heads.

        Args:
            compute: returns the loss weight and the logits of each head.
            x: input of `compute`, [B, ...].
            truth: targets in the form that `loss` takes.
        """
        with explain_batch_norm_error():
            heads = compute(self.runtime_options.lay_out(x))
        return {
            f"loss_head{head}" if head else "loss_main": weight * self.loss(logits, truth)
            for head, (weight, logits) in enumerate(heads)
        }

    def start_training(self, data: VisionData | None) -> None:
        """See `Task.start_training`. Count the classes for class weights, and compile the network if requested."""
        super().start_training(data)
        self.runtime_options.start_training(self.network)
        weights = self._weights_for_training(data)
        self.class_weights = None if weights is None else weights.to(self.pipeline.device)

    def start_test(self, data: VisionData | None) -> None:
        """See `Task.start_test`. Remove the predictions of an earlier run."""
        self.rows, self.image_results = {}, {}

    def test_results(self) -> MetricResults:
        """Return the metrics of the test split, and store the predictions of all processes for predictions.json."""
        self.rows = all_gather_dict(self.rows)
        self.image_results = all_gather_dict(self.image_results)
        self.scored = self.scored_images() if self.image_results else None
        return self.with_intervals(self.computed_metrics())

    def scored_images(self) -> ScoredImages:
        """Return the tested images in the form that confidence intervals are computed from."""
        raise NotImplementedError

    def _weights_for_training(self, data: VisionData | None) -> Tensor | None:
        """Return the weight of each class in the loss.

        Raises:
            ConfigError: the classes must be counted, and the trainer has no `VisionData`.
        """
        kind, classes = self.loss_options.class_weights, len(self.class_names)
        if kind == "none" or not isinstance(kind, str):
            return class_weights(torch.zeros(classes), kind)
        if data is None:
            raise ConfigError(
                f"loss.class_weights: give {classes} numbers, or the data as a VisionData whose classes can be counted"
            )
        counts, out_of = self.count_classes(data)
        return class_weights(counts, kind, out_of)
