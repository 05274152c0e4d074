"""The classification task: any network with logits, trained and evaluated under Lightning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from visionkit.data.batch import Batch
from visionkit.data.datamodule import VisionData
from visionkit.data.splits import Needs
from visionkit.errors import ConfigError
from visionkit.models.base import ClassificationModel
from visionkit.preprocessing.classification import ClassificationPreprocessing, ClassificationPreprocessOptions
from visionkit.tasks.base import Task, tasks
from visionkit.tasks.classification_tta import Views, crop_schemes
from visionkit.tasks.label_modes import LABEL_MODES
from visionkit.tasks.logits_task import LogitsTask
from visionkit.tasks.mixing import MixingOptions, make_mixing
from visionkit.tasks.optimizers import OptimizerOptions, ScheduleOptions
from visionkit.tasks.runtime import RuntimeOptions

MOST_LISTED = 5
"""Classes that predictions.json names for an image, the surest first."""


@dataclass
class ClassificationLossOptions:
    """What classification minimizes.

    Attributes:
        label_smoothing: share of the truth that is spread over all classes (Szegedy 2015, section 7).
        class_weights: none, balanced, median_frequency, or K numbers; counted on the training split.
        multi_label: images have any number of classes: sigmoid and binary cross-entropy instead of softmax.

    Raises:
        ConfigError: the smoothing is not in [0, 1).
    """

    label_smoothing: float = 0.0
    class_weights: Literal["none", "balanced", "median_frequency"] | list[float] = "none"
    multi_label: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(f"loss.label_smoothing is {self.label_smoothing}, and must be at least 0 and below 1")


@dataclass
class ClassificationEvaluationOptions:
    """How predictions are scored.

    Attributes:
        metric: the figure that best.ckpt follows: top1, top5 or mean_recall; None takes top1, or mAP for
            several labels an image.
        display_threshold: probability from which `predict` names a class.
        views: looks at an image in `test` and `predict`, whose probabilities are averaged: center, ten (Krizhevsky
            2012: corners, center and their mirror images), grid (Simonyan & Zisserman 2014: 5 x 5 places), squares
            or googlenet (Szegedy 2014: 6 and 36, times four with GoogLeNet's scales), or dense (Simonyan & Zisserman
            2014: everywhere). Validation in training takes the center alone.
        scales: lengths of the shorter side, each of which is looked at; none is that of `preprocess`.
        flip: whether mirrored views count, too; None does as published: all do but the center.

    Raises:
        ConfigError: there are no such views.
    """

    metric: Literal["top1", "top5", "mean_recall", "mAP", "F1"] | None = None
    display_threshold: float = 0.05
    views: str = "center"
    scales: list[int] = field(default_factory=list)
    flip: bool | None = None

    def __post_init__(self) -> None:
        crop_schemes.get(self.views)


@tasks.register("classification")
class Classification(LogitsTask):
    """Image classification, one class an image or several.

    Args:
        model: a network that gives logits [B, K] of images [B, 3, H, W]; with `weighted_logits` it may
            have auxiliary heads, which only training looks at.
        class_names: K names in label order.
        category_ids: the data set's own class ids, for result files; None numbers them from 1.
        preprocess: how images are brought to the network's input.
        optimizer: optimizer and rates.
        schedule: the rate over time.
        loss: what is minimized.
        mixing: mixup and cutmix.
        evaluation: how predictions are scored.
        runtime: how the network is run.
    """

    name: ClassVar[str] = "classification"
    option_types: ClassVar[dict[str, type]] = {
        "preprocess": ClassificationPreprocessOptions,
        **Task.option_types,
        "loss": ClassificationLossOptions,
        "mixing": MixingOptions,
        "evaluation": ClassificationEvaluationOptions,
        "runtime": RuntimeOptions,
    }
    network: ClassificationModel
    preprocessing: ClassificationPreprocessing
    loss_options: ClassificationLossOptions

    def __init__(
        self,
        model: ClassificationModel,
        class_names: list[str],
        category_ids: list[int] | None = None,
        preprocess: ClassificationPreprocessOptions | None = None,
        optimizer: OptimizerOptions | None = None,
        schedule: ScheduleOptions | None = None,
        loss: ClassificationLossOptions | None = None,
        mixing: MixingOptions | None = None,
        evaluation: ClassificationEvaluationOptions | None = None,
        runtime: RuntimeOptions | None = None,
    ) -> None:
        super().__init__(model, class_names, category_ids, preprocess, optimizer, schedule, loss, runtime)
        self.mixing_options = mixing or MixingOptions()
        self.label_mode = LABEL_MODES[self.loss_options.multi_label]()
        self.mixing = make_mixing(self.mixing_options, len(class_names))
        self.set_evaluation(evaluation or ClassificationEvaluationOptions())

    @classmethod
    def needs(cls, recipe: Mapping[str, Any]) -> Needs:
        """A label, or any number of them."""
        return LABEL_MODES[bool((recipe.get("loss") or {}).get("multi_label"))].needs

    def set_evaluation(self, evaluation: ClassificationEvaluationOptions) -> None:
        """Score from now on as `evaluation` says; the network is not touched.

        Raises:
            ConfigError: `evaluation.metric` is no figure of such classes, or a scale does not go with `preprocess`.
        """
        self.evaluation_options = evaluation
        self.views = Views(evaluation.views, evaluation.scales, evaluation.flip, self.preprocessing)
        self.metric = self.label_mode.metrics(self.class_names)
        if evaluation.metric not in (None, *self.metric.overall):
            raise ConfigError(
                f"evaluation.metric is {evaluation.metric}; the metrics of {len(self.class_names)} classes, "
                f"{self.label_mode.in_words}, are {', '.join(self.metric.overall)}"
            )

    @property
    def monitor(self) -> str:
        """The main metric on the validation split."""
        return f"val/{self.evaluation_options.metric or self.metric.main}"

    def forward(self, images: Sequence[Tensor]) -> Tensor:
        """Classify, as the evaluation's views say.

        Args:
            images: uint8 [3, H, W] each, RGB, of any size.

        Returns:
            Probabilities [B, K], the mean over the views; where there are several labels an image, each by itself.
        """
        return self.views.average(images, self._probabilities)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """One step: the weighted sum of the losses of all heads."""
        images, targets = self._prepared(batch), self._targets(batch)
        if self.mixing is not None:
            images, targets = self.mixing(images, targets)
        compute = self._cached_logits if batch.holds_features else self.network.weighted_logits
        return self.training_loss(compute, images, targets, batch.image_ids)

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Loss and metrics from one forward pass."""
        images, targets = self.runtime_options.lay_out(self._prepared(batch)), self._targets(batch)
        logits = self.network.classify_features(images) if batch.holds_features else self.network(images)
        self.log_losses("val", {"loss": self.loss(logits, targets)}, len(targets))
        self.metric.update(self.label_mode.probabilities(logits), targets)

    def test_step(self, batch: Batch, batch_index: int) -> None:
        """Predict as `predict` does, for the metrics and the results file."""
        probabilities = self(batch.images)
        self.metric.update(probabilities, self._targets(batch))
        self.rows |= dict(zip(batch.image_ids, self._rows(probabilities), strict=True))

    def count_classes(self, data: VisionData) -> tuple[Tensor, Tensor | None]:
        """Images of each class in the training split."""
        return torch.from_numpy(data.class_counts("train")), None

    def loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Cross-entropy of logits [B, K], softmax or sigmoid."""
        return self.label_mode.loss(logits, truth, self.class_weights, self.loss_options.label_smoothing)

    def _prepared(self, batch: Batch) -> Tensor:
        return torch.stack(batch.images) if batch.holds_features else self.preprocessing(batch.images)

    def _cached_logits(self, features: Tensor) -> list[tuple[float, Tensor]]:
        return [(1.0, self.network.classify_features(features))]

    def _probabilities(self, views: Tensor) -> Tensor:
        """Probabilities [N, K] of normalized views [N, 3, h, w]."""
        logits = self.views.kind.logits(self.network, self.runtime_options.lay_out(views))
        return self.label_mode.probabilities(logits)

    def _targets(self, batch: Batch) -> Tensor:
        return self.label_mode.targets(batch, len(self.class_names), self.device)

    def _rows(self, probabilities: Tensor) -> list[dict[str, Any]]:
        surest = probabilities.topk(min(MOST_LISTED, len(self.class_names)), dim=1)
        return [
            {"classes": [self.class_names[label] for label in labels], "scores": scores}
            for labels, scores in zip(surest.indices.tolist(), surest.values.tolist(), strict=True)
        ]
