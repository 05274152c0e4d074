"""Segmentation task, which trains and scores a segmentation model with Lightning."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from visionkit.data.batch import Batch
from visionkit.data.datamodule import VisionData
from visionkit.data.datasets.base import AnnotationKind, RequiredAnnotation
from visionkit.errors import ConfigError
from visionkit.metrics.scored_images import ScoredImages
from visionkit.metrics.scored_masks import ScoredMasks
from visionkit.metrics.segmentation import SegmentationMetrics
from visionkit.models.base import Model, SegmentationModel
from visionkit.ops.segmentation_losses import Settings, losses, segmentation_loss
from visionkit.option_checks import check_above_up_to, check_at_least, check_not_empty
from visionkit.pipelines.ensembles import SegmentationEnsemble
from visionkit.pipelines.group_by_shape import group_by_shape
from visionkit.pipelines.runtime import RuntimeOptions
from visionkit.pipelines.segmentation import (
    SegmentationInferenceOptions,
    SegmentationPipeline,
    most_probable_classes,
)
from visionkit.preprocessing.segmentation import SegmentationPreprocessOptions
from visionkit.tasks.base import Task, refuse_beside_pipeline, tasks
from visionkit.tasks.logits_task import LogitsTask
from visionkit.tasks.optimizers import OptimizerOptions
from visionkit.tasks.schedules import ScheduleOptions


@dataclass
class SegmentationLossOptions:
    """Loss of segmentation; see `visionkit.ops.segmentation_losses`.

    Attributes:
        terms: losses that are summed: cross_entropy, focal, bootstrapped, dice, jaccard.
        term_weights: weight of each term; an empty list gives all terms the weight 1.
        class_weights: none, balanced, median_frequency, or K numbers. Pixels are counted in the training masks.
        gamma: exponent of the focal loss.
        hard_fraction: share of the pixels of an image, those with the highest loss, that the bootstrapped loss uses.

    Raises:
        ConfigError: a term is unknown, the number of weights differs from that of terms, or a value is out of range.

    Example:
        >>> import visionkit as vk
        >>> vk.SegmentationLossOptions(terms=["cross_entropy", "dice"], term_weights=[1.0, 0.5]).weighted_terms
        {'cross_entropy': 1.0, 'dice': 0.5}
    """

    terms: list[str] = field(default_factory=lambda: ["cross_entropy"])
    term_weights: list[float] = field(default_factory=list)
    class_weights: Literal["none", "balanced", "median_frequency"] | list[float] = "none"
    gamma: float = 2.0
    hard_fraction: float = 0.25

    def __post_init__(self) -> None:
        for term in self.terms:
            losses.get(term)
        check_not_empty(terms=self.terms)
        if len(self.term_weights) not in (0, len(self.terms)):
            raise ConfigError(f"term_weights={self.term_weights} must be one number for each of the terms {self.terms}")
        check_at_least(0, term_weights=self.term_weights, gamma=self.gamma)
        check_above_up_to(0, 1, hard_fraction=self.hard_fraction)
        if not isinstance(self.class_weights, str):
            check_at_least(0, class_weights=self.class_weights)

    @property
    def weighted_terms(self) -> dict[str, float]:
        """Weight of each term."""
        return dict(zip(self.terms, self.term_weights or [1.0] * len(self.terms), strict=True))

    @property
    def settings(self) -> Settings:
        """Settings of single terms."""
        return Settings(self.gamma, self.hard_fraction)


@dataclass
class SegmentationEvaluationOptions:
    """Evaluation of masks.

    Attributes:
        metric: metric that selects best.ckpt.
        boundaries: whether the boundary F1 is computed.

    Raises:
        ConfigError: `metric` is boundary_F1 without `boundaries`.

    Example:
        >>> import visionkit as vk
        >>> vk.SegmentationEvaluationOptions(metric="mIoU", boundaries=True).boundaries
        True
    """

    metric: Literal["mIoU", "pixel_accuracy", "mean_accuracy", "fwIoU", "mean_dice", "boundary_F1"] = "mIoU"
    boundaries: bool = False

    def __post_init__(self) -> None:
        if self.metric == "boundary_F1" and not self.boundaries:
            raise ConfigError("evaluation.metric=boundary_F1 needs evaluation.boundaries=true")


@tasks.register("segmentation")
class Segmentation(LogitsTask):
    """Semantic segmentation, with one class per pixel.

    Args:
        model: a `SegmentationModel`, or a pipeline with its own classes, preprocessing and inference options.
        class_names: K names in label order.
        category_ids: category id of each class in the dataset; None numbers them from 1.
        class_colors: RGB of each class in drawings; None for default colors.
        preprocess: options for resizing and normalizing images.
        optimizer: optimizer and learning rates.
        schedule: learning rate schedule.
        loss: options of the training loss.
        inference: views and tiles of `test` and `predict`.
        evaluation: evaluation options, such as the main metric.
        runtime: memory layout and compilation of the network.

    Example:
        >>> import visionkit as vk
        >>> model = vk.FCN32s(vk.create_backbone("resnet18", weights="none"), num_classes=2)
        >>> vk.Segmentation(model, ["sky", "road"]).monitor
        'val/mIoU'
    """

    name: ClassVar[str] = "segmentation"
    annotation_kind: ClassVar[AnnotationKind] = "semantic"
    option_types: ClassVar[dict[str, type]] = {
        **Task.option_types,
        "loss": SegmentationLossOptions,
        "evaluation": SegmentationEvaluationOptions,
    }
    pipeline_type = SegmentationPipeline
    pipeline: SegmentationPipeline | SegmentationEnsemble
    loss_options: SegmentationLossOptions
    evaluation_options: SegmentationEvaluationOptions
    metric: SegmentationMetrics

    def __init__(
        self,
        model: SegmentationModel | SegmentationPipeline | SegmentationEnsemble,
        class_names: Sequence[str] | None = None,
        category_ids: Sequence[int] | None = None,
        class_colors: Sequence[Sequence[int]] | None = None,
        preprocess: SegmentationPreprocessOptions | None = None,
        optimizer: OptimizerOptions | None = None,
        schedule: ScheduleOptions | None = None,
        loss: SegmentationLossOptions | None = None,
        inference: SegmentationInferenceOptions | None = None,
        evaluation: SegmentationEvaluationOptions | None = None,
        runtime: RuntimeOptions | None = None,
    ) -> None:
        if not isinstance(model, SegmentationPipeline | SegmentationEnsemble):
            model = SegmentationPipeline(model, class_names, category_ids, class_colors, preprocess, inference, runtime)
        else:
            refuse_beside_pipeline(
                class_names=class_names,
                category_ids=category_ids,
                class_colors=class_colors,
                preprocess=preprocess,
                inference=inference,
                runtime=runtime,
            )
        super().__init__(model, optimizer, schedule, loss or SegmentationLossOptions())
        self.set_evaluation(evaluation or SegmentationEvaluationOptions())

    @property
    def model_pipeline(self) -> SegmentationPipeline:
        """See `Task.model_pipeline`."""
        pipeline = super().model_pipeline
        assert isinstance(pipeline, SegmentationPipeline)
        return pipeline

    @classmethod
    def required_annotation(cls, model: type[Model], multi_label: bool = False) -> RequiredAnnotation:
        """Return the required annotation, a class mask."""
        return "semantic"

    @classmethod
    def data_arguments(cls, data: VisionData) -> dict[str, Any]:
        """See `Task.data_arguments`. The arguments include the class colors of the dataset."""
        return {**super().data_arguments(data), "class_colors": data.class_colors}

    def set_evaluation(self, evaluation: SegmentationEvaluationOptions) -> None:
        """See `Task.set_evaluation`."""
        self.evaluation_options = evaluation
        self.metric = SegmentationMetrics(self.class_names, evaluation.boundaries, calibration=True)

    @property
    def monitor(self) -> str:
        """Name of the main metric on the validation split."""
        return f"val/{self.evaluation_options.metric}"

    def training_losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """See `Task.training_losses`; one of each head of the model."""
        pipeline = self.model_pipeline
        images, classes = pipeline.preprocessing.batch(batch.images, self._masks(batch))
        return self.weighted_losses(pipeline.network.weighted_logits, images, classes)

    def score_with_losses(self, batch: Batch) -> None:
        """See `Task.score_with_losses`. There is one forward pass per image size, in original pixels."""
        masks, pipeline = self._masks(batch), self.model_pipeline
        for group in group_by_shape(batch.images):
            images = torch.stack([batch.images[index] for index in group])
            truth = torch.stack([masks[index] for index in group])
            logits = pipeline.logits(images, pipeline.preprocessing.scale(*images.shape[-2:]))
            self.val_losses.update({"loss": self.loss(logits, truth.long())}, len(group))
            labels, confidences = most_probable_classes(logits)
            self.metric.update(labels, truth, confidences)

    def score_predictions(self, batch: Batch) -> None:
        """See `Task.score_predictions`."""
        found = self.pipeline.pixel_classes(batch.images)
        for (labels, confidences), truth, image_id in zip(found, self._masks(batch), batch.image_ids, strict=True):
            self.image_results[image_id] = self.metric.update_image(labels, truth, confidences)
            shares = torch.bincount(labels.flatten(), minlength=len(self.class_names)) / labels.numel()
            self.rows[image_id] = {"shares": dict(zip(self.class_names, shares.tolist(), strict=True))}

    def scored_images(self) -> ScoredImages:
        """See `LogitsTask.scored_images`."""
        return ScoredMasks(self.image_results, self.class_names)

    def count_classes(self, data: VisionData) -> tuple[Tensor, Tensor | None]:
        """See `LogitsTask.count_classes`: pixels of each class, and pixels of the masks that contain it."""
        counts, out_of = data.pixel_counts("train")
        return torch.from_numpy(counts), torch.from_numpy(out_of)

    def loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Return the weighted loss of logits [B, K, H, W] for classes int64 [B, H, W]."""
        options = self.loss_options
        return segmentation_loss(logits, truth, options.weighted_terms, self.class_weights, options.settings)

    def _masks(self, batch: Batch) -> list[Tensor]:
        return [target["semantic"] for target in batch.targets]
