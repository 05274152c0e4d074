"""The segmentation task: any network with logits for each pixel, trained and evaluated under Lightning."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from visionkit.data.batch import Batch
from visionkit.data.datamodule import VisionData
from visionkit.data.splits import Needs
from visionkit.errors import ConfigError
from visionkit.metrics.segmentation import SegmentationMetrics
from visionkit.models.base import Model, SegmentationModel
from visionkit.ops.segmentation_losses import Settings, losses, segmentation_loss
from visionkit.ops.tiles import Tile, blended_strips
from visionkit.preprocessing.segmentation import SegmentationPreprocessing, SegmentationPreprocessOptions
from visionkit.tasks.base import Task, tasks
from visionkit.tasks.detection_tta import check_factors, tta_views
from visionkit.tasks.group_by_shape import group_by_shape
from visionkit.tasks.logits_task import LogitsTask
from visionkit.tasks.optimizers import OptimizerOptions, ScheduleOptions
from visionkit.tasks.runtime import RuntimeOptions

TILES_AT_ONCE = 4
"""Tiles of a large image that go through the network together."""


@dataclass
class SegmentationLossOptions:
    """What segmentation minimizes; see `visionkit.ops.segmentation_losses`.

    Attributes:
        terms: names of losses that are added up: cross_entropy, focal, bootstrapped, dice, jaccard.
        term_weights: a number for each; none weighs them alike, with 1.
        class_weights: none, balanced, median_frequency, or K numbers; counted on the masks of the training split.
        gamma: how strongly focal turns to what is wrong.
        hardest: share of an image's pixels that bootstrapped learns from.

    Raises:
        ConfigError: there is no such loss, the numbers are not one for each, or out of range.
    """

    terms: list[str] = field(default_factory=lambda: ["cross_entropy"])
    term_weights: list[float] = field(default_factory=list)
    class_weights: Literal["none", "balanced", "median_frequency"] | list[float] = "none"
    gamma: float = 2.0
    hardest: float = 0.25

    def __post_init__(self) -> None:
        for term in self.terms:
            losses.get(term)
        if not self.terms or len(self.term_weights) not in (0, len(self.terms)):
            raise ConfigError(f"loss.term_weights: {len(self.term_weights)} numbers for {len(self.terms)} terms")
        if not 0 < self.hardest <= 1:
            raise ConfigError(f"loss.hardest is {self.hardest}, and must be above 0 and at most 1")
        if self.gamma < 0:
            raise ConfigError(f"loss.gamma is {self.gamma}, and must be at least 0")

    @property
    def weighted_terms(self) -> dict[str, float]:
        """Each loss with its weight."""
        return dict(zip(self.terms, self.term_weights or [1.0] * len(self.terms), strict=True))

    @property
    def settings(self) -> Settings:
        """The numbers of single losses."""
        return Settings(self.gamma, self.hardest)


@dataclass
class SegmentationEvaluationOptions:
    """How masks are predicted in `test` and `predict`, and scored.

    Validation in training takes each image whole, once.

    Attributes:
        metric: the figure that best.ckpt follows.
        tile: side in pixels of the tiles that a larger image is cut into; None takes every image whole.
        overlap: pixels that neighboring tiles share at least; they are blended there.
        scales: factors on the image's size, each of which is looked at; the probabilities are averaged.
        flip: whether the mirrored image is looked at, too.
        boundaries: whether boundary F1 is measured.
        display_threshold: share of the pixels from which `predict` lists a class.

    Raises:
        ConfigError: numbers that contradict each other.
    """

    metric: Literal["mIoU", "pixel_accuracy", "mean_accuracy", "fwIoU", "mean_dice", "boundary_F1"] = "mIoU"
    tile: int | None = None
    overlap: int = 64
    scales: list[float] = field(default_factory=lambda: [1.0])
    flip: bool = False
    boundaries: bool = False
    display_threshold: float = 0.0

    def __post_init__(self) -> None:
        if self.tile is not None and not 0 <= self.overlap < self.tile:
            raise ConfigError(f"evaluation: 0 <= overlap {self.overlap} < tile {self.tile} must hold")
        check_factors(self.scales)
        if self.metric == "boundary_F1" and not self.boundaries:
            raise ConfigError("evaluation.metric=boundary_F1 is measured with evaluation.boundaries=true only")


@tasks.register("segmentation")
class Segmentation(LogitsTask):
    """Semantic segmentation: a class for each pixel.

    Args:
        model: a network that gives logits [B, K, H, W] of images [B, 3, H, W] of any size; with
            `weighted_logits` it may have auxiliary heads, which only training looks at.
        class_names: K names in label order.
        category_ids: the data set's own class ids; None numbers them from 1.
        class_colors: RGB of each class in drawings; None leaves them to the drawing.
        preprocess: how images are brought to the network's input.
        optimizer: optimizer and rates.
        schedule: the rate over time.
        loss: what is minimized.
        evaluation: how masks are predicted and scored.
        runtime: how the network is run.
    """

    name: ClassVar[str] = "segmentation"
    option_types: ClassVar[dict[str, type]] = {
        "preprocess": SegmentationPreprocessOptions,
        **Task.option_types,
        "loss": SegmentationLossOptions,
        "evaluation": SegmentationEvaluationOptions,
        "runtime": RuntimeOptions,
    }
    network: SegmentationModel
    preprocessing: SegmentationPreprocessing
    loss_options: SegmentationLossOptions

    def __init__(
        self,
        model: SegmentationModel,
        class_names: list[str],
        category_ids: list[int] | None = None,
        class_colors: Sequence[Sequence[int]] | None = None,
        preprocess: SegmentationPreprocessOptions | None = None,
        optimizer: OptimizerOptions | None = None,
        schedule: ScheduleOptions | None = None,
        loss: SegmentationLossOptions | None = None,
        evaluation: SegmentationEvaluationOptions | None = None,
        runtime: RuntimeOptions | None = None,
    ) -> None:
        super().__init__(model, class_names, category_ids, preprocess, optimizer, schedule, loss, runtime)
        self.class_colors = None if class_colors is None else [list(color) for color in class_colors]
        self.set_evaluation(evaluation or SegmentationEvaluationOptions())

    @classmethod
    def needs(cls, recipe: Mapping[str, Any]) -> Needs:
        """A mask of classes."""
        return "semantic"

    @classmethod
    def data_arguments(cls, data: VisionData) -> dict[str, Any]:
        """See `Task.data_arguments`; the colors of the data set's masks besides."""
        return {**super().data_arguments(data), "class_colors": data.class_colors}

    def set_evaluation(self, evaluation: SegmentationEvaluationOptions) -> None:
        """Predict and score from now on as `evaluation` says; the network is not touched."""
        self.evaluation_options = evaluation
        self.metric = SegmentationMetrics(self.class_names, evaluation.boundaries)

    @property
    def monitor(self) -> str:
        """The main metric on the validation split."""
        return f"val/{self.evaluation_options.metric}"

    def description(self) -> dict[str, Any]:
        """See `Task.description`."""
        return {**super().description(), "class_colors": self.class_colors}

    @classmethod
    def from_description(cls, description: dict[str, Any], network: Model) -> "Segmentation":
        """See `Task.from_description`."""
        task = super().from_description(description, network)
        assert isinstance(task, cls)
        task.class_colors = description.get("class_colors")
        return task

    def forward(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Label each pixel, as the evaluation options say.

        Args:
            images: uint8 [3, H, W] each, RGB, of any size.

        Returns:
            For each image uint8 [H, W], 0..K-1.
        """
        found: list[Tensor] = [torch.empty(0)] * len(images)
        for group in group_by_shape(images):
            for index, labels in zip(group, self._labels([images[index] for index in group]), strict=True):
                found[index] = labels
        return found

    def probabilities(self, images: Tensor, whole: tuple[int, int]) -> Tensor:
        """What the network says of images or parts of them, averaged over scales and mirror images.

        Args:
            images: uint8 [N, 3, h, w].
            whole: height and width in pixels of the images that they are parts of, which decide the scale.

        Returns:
            float32 [N, K, h, w], at the pixels of `images`.
        """
        options, scale = self.evaluation_options, self.preprocessing.scale(*whole)
        total = torch.zeros((), device=images.device)
        views = tta_views(options.scales, options.flip)
        for view in views:
            logits = self._logits(view.image(images), scale * view.factor)
            total = total + view.image(logits).softmax(1)
        return total / len(views)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """One step: the weighted sum of the losses of all heads."""
        images, classes = self.preprocessing.batch(batch.images, self._masks(batch))
        return self.training_loss(self.network.weighted_logits, images, classes, batch.image_ids)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Loss and metrics from one forward pass over each whole image, in its own pixels."""
        masks = self._masks(batch)
        for group in group_by_shape(batch.images):
            images = torch.stack([batch.images[index] for index in group])
            truth = torch.stack([masks[index] for index in group])
            logits = self._logits(images, self.preprocessing.scale(*images.shape[-2:]))
            self.log_losses("val", {"loss": self.loss(logits, truth.long())}, len(group))
            self.metric.update(logits.argmax(1), truth)

    def test_step(self, batch: Batch, batch_index: int) -> None:
        """Predict as `predict` does, for the metrics and the results file."""
        for labels, truth, image_id in zip(self(batch.images), self._masks(batch), batch.image_ids, strict=True):
            self.metric.update(labels, truth)
            shares = torch.bincount(labels.flatten(), minlength=len(self.class_names)) / labels.numel()
            self.rows[image_id] = {"shares": dict(zip(self.class_names, shares.tolist(), strict=True))}

    def count_classes(self, data: VisionData) -> tuple[Tensor, Tensor | None]:
        """Pixels of each class on the training masks, and those of the masks that show it."""
        counts, out_of = data.pixel_counts("train")
        return torch.from_numpy(counts), torch.from_numpy(out_of)

    def loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """The weighted losses of logits [B, K, H, W] for classes int64 [B, H, W]."""
        options = self.loss_options
        return segmentation_loss(logits, truth, options.weighted_terms, self.class_weights, options.settings)

    def _labels(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Classes uint8 [H, W] of images of one size."""
        height, width = images[0].shape[-2:]
        tile = self.evaluation_options.tile
        if tile is None or max(height, width) <= tile:
            return list(self.probabilities(torch.stack(list(images)), (height, width)).argmax(1).to(torch.uint8))
        return [torch.cat([strip.argmax(0).to(torch.uint8) for strip in self._strips(image, tile)]) for image in images]

    def _strips(self, image: Tensor, tile: int) -> Iterator[Tensor]:
        """Probabilities [K, rows, W] of a large image, from top to bottom."""
        height, width = image.shape[-2:]

        def answer(row: list[Tile]) -> Iterator[Tensor]:
            for start in range(0, len(row), TILES_AT_ONCE):
                parts = torch.stack([place.cut(image) for place in row[start : start + TILES_AT_ONCE]])
                yield from self.probabilities(parts, (height, width))

        return blended_strips(height, width, tile, self.evaluation_options.overlap, answer)

    def _logits(self, images: Tensor, scale: float) -> Tensor:
        """The network's logits at the pixels of the images: resized first, so that classes are chosen there."""
        prepared = self.runtime_options.lay_out(self.preprocessing(images, scale))
        logits: Tensor = self.network(prepared).float()
        if logits.shape[-2:] == images.shape[-2:]:
            return logits
        return functional.interpolate(logits, images.shape[-2:], mode="bilinear", align_corners=False)

    def _masks(self, batch: Batch) -> list[Tensor]:
        return [target["semantic"] for target in batch.targets]
