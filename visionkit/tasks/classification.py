"""Classification task, which trains and scores a classifier with Lightning."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from visionkit.data.batch import Batch
from visionkit.data.datamodule import VisionData
from visionkit.data.datasets.base import AnnotationKind, RequiredAnnotation
from visionkit.errors import ConfigError
from visionkit.metrics.classification import ClassificationMetrics
from visionkit.metrics.f1_threshold import VAL_SPLIT
from visionkit.metrics.results import MetricResults
from visionkit.metrics.scored_images import ScoredImages
from visionkit.metrics.scored_labels import ScoredMultiLabels
from visionkit.models.base import ClassificationModel, Model
from visionkit.option_checks import check_at_least, check_below
from visionkit.pipelines.classification import (
    MULTI_LABEL_THRESHOLD,
    ClassificationInferenceOptions,
    ClassificationPipeline,
)
from visionkit.pipelines.ensembles import ClassificationEnsemble
from visionkit.pipelines.runtime import RuntimeOptions
from visionkit.preprocessing.classification import ClassificationPreprocessOptions
from visionkit.tasks.base import Task, refuse_beside_pipeline, tasks
from visionkit.tasks.label_modes import LABEL_MODES
from visionkit.tasks.logits_task import LogitsTask
from visionkit.tasks.mixing import MixingOptions, make_mixing
from visionkit.tasks.optimizers import OptimizerOptions
from visionkit.tasks.schedules import ScheduleOptions

MAX_LISTED = 5
"""Number of classes per image in predictions.json, by descending probability."""


@dataclass
class ClassificationLossOptions:
    """Loss of classification: cross-entropy, or binary cross-entropy for several labels per image.

    Attributes:
        label_smoothing: share of the target that is spread over all classes (Szegedy 2015, section 7).
        class_weights: none, balanced, median_frequency, or K numbers. Classes are counted in the training split.

    Raises:
        ConfigError: `label_smoothing` is not in [0, 1).

    Example:
        >>> import visionkit as vk
        >>> vk.ClassificationLossOptions(label_smoothing=0.1).class_weights
        'none'
    """

    label_smoothing: float = 0.0
    class_weights: Literal["none", "balanced", "median_frequency"] | list[float] = "none"

    def __post_init__(self) -> None:
        check_below(0, 1, label_smoothing=self.label_smoothing)
        if not isinstance(self.class_weights, str):
            check_at_least(0, class_weights=self.class_weights)


@dataclass
class ClassificationEvaluationOptions:
    """Evaluation of predictions.

    Attributes:
        metric: metric that selects best.ckpt: top1, top5 or mean_recall, or mAP or F1 for several labels per image.
            None selects top1 or mAP.

    Example:
        >>> import visionkit as vk
        >>> vk.ClassificationEvaluationOptions(metric="top5").metric
        'top5'
    """

    metric: Literal["top1", "top5", "mean_recall", "mAP", "F1"] | None = None


@tasks.register("classification")
class Classification(LogitsTask):
    """Image classification with one or several labels per image.

    Args:
        model: a `ClassificationModel`, or a pipeline with its own classes, preprocessing and inference options.
        class_names: K names in label order.
        category_ids: category id of each class in the dataset, for result files; None numbers them from 1.
        preprocess: options for resizing, cropping and normalizing images.
        optimizer: optimizer and learning rates.
        schedule: learning rate schedule.
        loss: options of the training loss.
        mixing: options of mixup and CutMix.
        inference: views and threshold of `test` and `predict`.
        evaluation: evaluation options, such as the main metric.
        runtime: memory layout and compilation of the network.

    Example:
        >>> import visionkit as vk
        >>> model = vk.Classifier(vk.create_backbone("cifar_resnet20", weights="none"), num_classes=2)
        >>> vk.Classification(model, ["cat", "dog"]).monitor
        'val/top1'
    """

    name: ClassVar[str] = "classification"
    annotation_kind: ClassVar[AnnotationKind] = "label"
    option_types: ClassVar[dict[str, type]] = {
        **Task.option_types,
        "loss": ClassificationLossOptions,
        "mixing": MixingOptions,
        "evaluation": ClassificationEvaluationOptions,
    }
    pipeline_type = ClassificationPipeline
    pipeline: ClassificationPipeline | ClassificationEnsemble
    loss_options: ClassificationLossOptions
    evaluation_options: ClassificationEvaluationOptions
    metric: ClassificationMetrics

    def __init__(
        self,
        model: ClassificationModel | ClassificationPipeline | ClassificationEnsemble,
        class_names: Sequence[str] | None = None,
        category_ids: Sequence[int] | None = None,
        preprocess: ClassificationPreprocessOptions | None = None,
        optimizer: OptimizerOptions | None = None,
        schedule: ScheduleOptions | None = None,
        loss: ClassificationLossOptions | None = None,
        mixing: MixingOptions | None = None,
        inference: ClassificationInferenceOptions | None = None,
        evaluation: ClassificationEvaluationOptions | None = None,
        runtime: RuntimeOptions | None = None,
    ) -> None:
        if not isinstance(model, ClassificationPipeline | ClassificationEnsemble):
            model = ClassificationPipeline(model, class_names, category_ids, None, preprocess, inference, runtime)
        else:
            refuse_beside_pipeline(
                class_names=class_names,
                category_ids=category_ids,
                preprocess=preprocess,
                inference=inference,
                runtime=runtime,
            )
        super().__init__(model, optimizer, schedule, loss or ClassificationLossOptions())
        self.label_mode = LABEL_MODES[model.multi_label]()
        self.mixing_options = mixing or MixingOptions()
        self.mixing = make_mixing(self.mixing_options, len(self.class_names))
        self.set_evaluation(evaluation or ClassificationEvaluationOptions())

    @property
    def model_pipeline(self) -> ClassificationPipeline:
        """See `Task.model_pipeline`."""
        pipeline = super().model_pipeline
        assert isinstance(pipeline, ClassificationPipeline)
        return pipeline

    @classmethod
    def required_annotation(cls, model: type[Model], multi_label: bool = False) -> RequiredAnnotation:
        """Return the required annotation: one label, or any number of them."""
        return LABEL_MODES[multi_label].required

    def set_evaluation(self, evaluation: ClassificationEvaluationOptions) -> None:
        """See `Task.set_evaluation`.

        Raises:
            ConfigError: `evaluation.metric` is not a metric for this kind of labels.
        """
        self.evaluation_options = evaluation
        self.metric = self.label_mode.metrics(self.class_names)
        if evaluation.metric not in (None, *self.metric.selectable):
            raise ConfigError(
                f"evaluation.metric is {evaluation.metric}; the metrics of {len(self.class_names)} classes, "
                f"{self.label_mode.in_words}, are {', '.join(self.metric.selectable)}"
            )

    @property
    def monitor(self) -> str:
        """Name of the main metric on the validation split."""
        return f"val/{self.evaluation_options.metric or self.metric.main_metric}"

    def training_losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """See `Task.training_losses`; one of each head of the model."""
        images, targets = self._prepared(batch), self._targets(batch)
        if self.mixing is not None:
            images, targets = self.mixing(images, targets)
        compute = self._cached_logits if batch.holds_features else self.model_pipeline.network.weighted_logits
        return self.weighted_losses(compute, images, targets)

    def score_with_losses(self, batch: Batch) -> None:
        """See `Task.score_with_losses`."""
        images, targets = self.runtime_options.lay_out(self._prepared(batch)), self._targets(batch)
        network = self.model_pipeline.network
        logits = network.classify_features(images) if batch.holds_features else network(images)
        self.val_losses.update({"loss": self.loss(logits, targets)}, len(targets))
        self.metric.update(self.model_pipeline.probabilities(logits), targets)

    def score_predictions(self, batch: Batch) -> None:
        """See `Task.score_predictions`."""
        probabilities = self.pipeline(batch.images)
        targets = self._targets(batch)
        self.metric.update(probabilities, targets)
        rows = zip(probabilities.cpu(), targets.cpu(), strict=True)
        # A row that is a view would take the whole batch along when it is sent to other processes.
        copies = ((found.clone(), truth.clone()) for found, truth in rows)
        self.image_results |= dict(zip(batch.image_ids, copies, strict=True))
        self.rows |= dict(zip(batch.image_ids, self._rows(probabilities), strict=True))

    def scored_images(self) -> ScoredImages:
        """See `LogitsTask.scored_images`."""
        return self.label_mode.scored(self.image_results, self.class_names, self._thresholds())

    def choose_thresholds(self) -> None:
        """Choose the threshold of each class, if an image can have several."""
        self.model_pipeline.class_thresholds = self.metric.best_thresholds()

    def test_results(self) -> MetricResults:
        """See `LogitsTask.test_results`. With several labels per image, F1 is that at the thresholds of the classes."""
        results = super().test_results()
        if isinstance(self.scored, ScoredMultiLabels):
            results |= self.scored.at_thresholds()
            results.extras["thresholds_from"] = "0.5" if self.pipeline.class_thresholds is None else VAL_SPLIT
        return results

    def _thresholds(self) -> list[float]:
        """Return the threshold of each class, which only matters for several labels per image."""
        chosen = self.pipeline.class_thresholds or [None] * len(self.class_names)
        return [MULTI_LABEL_THRESHOLD if threshold is None else threshold for threshold in chosen]

    def count_classes(self, data: VisionData) -> tuple[Tensor, Tensor | None]:
        """See `LogitsTask.count_classes`."""
        return torch.from_numpy(data.class_counts("train")), None

    def loss(self, logits: Tensor, truth: Tensor) -> Tensor:
        """Return the cross-entropy of logits [B, K] with softmax or sigmoid."""
        return self.label_mode.loss(logits, truth, self.class_weights, self.loss_options.label_smoothing)

    def _prepared(self, batch: Batch) -> Tensor:
        return torch.stack(batch.images) if batch.holds_features else self.model_pipeline.preprocessing(batch.images)

    def _cached_logits(self, features: Tensor) -> list[tuple[float, Tensor]]:
        return [(1.0, self.model_pipeline.network.classify_features(features))]

    def _targets(self, batch: Batch) -> Tensor:
        return self.label_mode.targets(batch, len(self.class_names), self.pipeline.device)

    def _rows(self, probabilities: Tensor) -> list[dict[str, Any]]:
        best = probabilities.topk(min(MAX_LISTED, len(self.class_names)), dim=1)
        return [
            {"classes": [self.class_names[label] for label in labels], "scores": scores}
            for labels, scores in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        ]
