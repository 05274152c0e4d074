"""Detection task, which trains and scores a detection model with Lightning."""

import functools
import logging
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from visionkit.data.batch import Batch
from visionkit.data.datamodule import VisionData
from visionkit.data.datasets.base import AnnotationKind, RequiredAnnotation
from visionkit.data.proposals.proposal_source import ProposalOptions
from visionkit.data.samplers import run_seed
from visionkit.errors import ConfigError
from visionkit.metrics.coco_results import to_coco_mask_results, to_coco_results
from visionkit.metrics.detection import DetectionMetric, detection_metrics
from visionkit.metrics.detection_results import score_detections
from visionkit.metrics.operating_point import best_thresholds
from visionkit.metrics.results import MetricResults
from visionkit.models.base import DetectionModel, Model
from visionkit.models.detection.parts.target_checks import check_proposals, check_target_shapes, check_target_values
from visionkit.pipelines.detection import DetectionInferenceOptions, DetectionPipeline
from visionkit.pipelines.ensembles import DetectionEnsemble
from visionkit.preprocessing.detection import DetectionPreprocessing, DetectionPreprocessOptions
from visionkit.tasks.base import Task, refuse_beside_pipeline, tasks
from visionkit.tasks.optimizers import OptimizerOptions
from visionkit.tasks.schedules import ScheduleOptions
from visionkit.tasks.training_checks import report_absent_classes, report_anchor_coverage
from visionkit.tasks.training_errors import explain_batch_norm_error

logger = logging.getLogger("visionkit")

HALF_PRECISION = ("16-true", "bf16-true")
"""Trainer precisions that make Lightning also convert the boxes of a batch to half precision."""


@dataclass
class DetectionEvaluationOptions:
    """Evaluation of detections.

    Attributes:
        metric: coco (AP over IoU 0.50 to 0.95), coco_masks (box and mask AP), voc07 (11-point AP at IoU 0.5), voc10
            (all-point AP at IoU 0.5), or a metric that a plugin registers.

    Raises:
        ConfigError: the metric is unknown.

    Example:
        >>> import visionkit as vk
        >>> vk.DetectionEvaluationOptions(metric="voc07").metric
        'voc07'
    """

    metric: str = "coco"

    def __post_init__(self) -> None:
        detection_metrics.get(self.metric)


@tasks.register("detection")
class Detection(Task):
    """Object detection.

    Args:
        model: a `DetectionModel`, or a pipeline with its own classes, preprocessing and inference options.
        class_names: K names in label order.
        category_ids: category id of each class in the dataset, for result files; None numbers them from 1.
        preprocess: options for resizing and normalizing images.
        optimizer: optimizer and learning rates.
        schedule: learning rate schedule.
        inference: views and thresholds of `test` and `predict`.
        evaluation: evaluation options, such as the main metric.
        proposals: options of the proposal search for images without proposals, for a model that takes them.

    Example:
        >>> import visionkit as vk
        >>> model = vk.RetinaNet(vk.create_backbone("resnet18", weights="none"), num_classes=2)
        >>> vk.Detection(model, ["cat", "dog"]).monitor
        'val/AP'
    """

    name: ClassVar[str] = "detection"
    annotation_kind: ClassVar[AnnotationKind] = "boxes"
    option_types: ClassVar[dict[str, type]] = {**Task.option_types, "evaluation": DetectionEvaluationOptions}
    pipeline_type = DetectionPipeline
    pipeline: DetectionPipeline | DetectionEnsemble
    evaluation_options: DetectionEvaluationOptions
    metric: DetectionMetric

    def __init__(
        self,
        model: DetectionModel | DetectionPipeline | DetectionEnsemble,
        class_names: Sequence[str] | None = None,
        category_ids: Sequence[int] | None = None,
        preprocess: DetectionPreprocessOptions | None = None,
        optimizer: OptimizerOptions | None = None,
        schedule: ScheduleOptions | None = None,
        inference: DetectionInferenceOptions | None = None,
        evaluation: DetectionEvaluationOptions | None = None,
        proposals: ProposalOptions | None = None,
    ) -> None:
        if not isinstance(model, DetectionPipeline | DetectionEnsemble):
            model = DetectionPipeline(model, class_names, category_ids, None, preprocess, inference, proposals)
        else:
            refuse_beside_pipeline(
                class_names=class_names,
                category_ids=category_ids,
                preprocess=preprocess,
                inference=inference,
                proposals=proposals,
            )
        super().__init__(model, optimizer, schedule)
        self.set_evaluation(evaluation or DetectionEvaluationOptions())
        self.predictions: list[dict[str, Any]] = []
        self._result_ids = self.category_ids

    @property
    def model_pipeline(self) -> DetectionPipeline:
        """See `Task.model_pipeline`."""
        pipeline = super().model_pipeline
        assert isinstance(pipeline, DetectionPipeline)
        return pipeline

    @classmethod
    def required_annotation(cls, model: type[Model], multi_label: bool = False) -> RequiredAnnotation | None:
        """Return masks of the objects for a model that predicts masks, otherwise None."""
        return "masks" if issubclass(model, DetectionModel) and model.predicts_masks else None

    @classmethod
    def data_arguments(cls, data: VisionData) -> dict[str, Any]:
        """See `Task.data_arguments`. The arguments include the proposal options."""
        return {**super().data_arguments(data), "proposals": data.proposal_options}

    def set_evaluation(self, evaluation: DetectionEvaluationOptions) -> None:
        """See `Task.set_evaluation`."""
        self.evaluation_options = evaluation
        make_metric = detection_metrics.get(evaluation.metric)
        self.metric = make_metric(class_names=self.class_names)

    @property
    def predicts_masks(self) -> bool:
        """Whether the model predicts masks; an ensemble does not."""
        return isinstance(self.pipeline, DetectionPipeline) and self.pipeline.network.predicts_masks

    @property
    def monitor(self) -> str:
        """Name of the main metric on the validation split: AP (COCO) or AP50 (VOC)."""
        return f"val/{self.metric.main_metric}"

    def predictions_for_json(self) -> list[dict[str, Any]]:
        """Return the boxes in COCO's results format, with the category ids of the dataset that was scored."""
        return to_coco_results(self.predictions, self._result_ids)

    def result_files(self) -> dict[str, list[dict[str, Any]]]:
        """See `Task.result_files`. Masks have a file of their own, since their rows have no boxes."""
        files = super().result_files()
        if self.predicts_masks:
            files["mask_predictions.json"] = to_coco_mask_results(self.predictions, self._result_ids)
        return files

    def check_batch(self, batch: Batch) -> None:
        """See `Task.check_batch`; an ensemble is not trained."""
        if isinstance(self.pipeline, DetectionEnsemble):
            return
        network = self.pipeline.network
        check_target_shapes(batch.targets)
        check_target_values(batch.targets, network.num_classes)
        if network.takes_proposals:
            check_proposals([target.get("proposals") for target in batch.targets], len(batch.targets))

    def training_losses(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """See `Task.training_losses`; those of the model."""
        preprocessing = self.model_pipeline.preprocessing
        images, geometries = preprocessing(batch.images, *preprocessing.training_scale(step, run_seed()))
        targets = DetectionPreprocessing.resize_targets(batch.targets, geometries)
        with explain_batch_norm_error():
            losses: dict[str, Tensor] = self.network(images, targets)
        return losses

    def score_with_losses(self, batch: Batch) -> None:
        """See `Task.score_with_losses`."""
        for group, losses, predictions in self.model_pipeline.losses_and_predictions(batch.images, batch.targets):
            if losses:
                total = functools.reduce(operator.add, losses.values())
                self.val_losses.update({"loss": total, **losses}, len(group))
            self.metric.update(predictions, [batch.targets[index] for index in group])

    def score_predictions(self, batch: Batch) -> None:
        """See `Task.score_predictions`."""
        self.metric.update(self.pipeline(batch.images, batch.targets), batch.targets)

    def choose_thresholds(self) -> None:
        """Choose the score threshold of each class."""
        self.model_pipeline.class_thresholds = best_thresholds(self.metric)

    def start_test(self, data: VisionData | None) -> None:
        """See `Task.start_test`. Log which detections are scored, and if the masks are not.

        Raises:
            ConfigError: masks are to be scored, and the model predicts none.
        """
        if self.metric.scores_masks and not self.predicts_masks:
            raise ConfigError(
                f"evaluation.metric={self.evaluation_options.metric} scores masks, and the model predicts none\n"
                "set evaluation.metric=coco, which scores the boxes"
            )
        self._report_unscored_masks()
        self._result_ids = self.category_ids if data is None else data.category_ids
        pipeline = self.pipeline
        logger.info(
            "scored: detections with a score above %g, at most %s per image",
            pipeline.min_score,
            pipeline.max_detections,
        )

    def test_results(self) -> MetricResults:
        """Return the metrics of the test split, and store the predictions of all processes for the results files."""
        columns, stored = self.metric.gathered_columns(), self.pipeline.class_thresholds
        with torch.inference_mode(False):  # see `computed_metrics`
            self.metric.reset()
        results, self.scored = score_detections(columns, self.metric, self.evaluation_options.metric, stored)
        if stored is None:
            logger.warning("precision, recall and F1: the thresholds are chosen on the scored split, which favors them")
        else:
            logger.info("precision, recall and F1: the thresholds were chosen on val during training")
        self.predictions = columns.predictions()
        return self.with_intervals(results)

    def check_precision(self, precision: str) -> None:
        """See `Task.check_precision`. Half precision of all inputs would round the annotated boxes."""
        if precision in HALF_PRECISION:
            raise ConfigError(
                f"trainer.precision={precision} would also round the boxes of annotations\n"
                f"set trainer.precision={precision.replace('true', 'mixed')}"
            )

    def start_training(self, data: VisionData | None) -> None:
        """See `Task.start_training`. Log classes without objects, objects without an anchor, and unscored masks."""
        super().start_training(data)
        self._report_unscored_masks()
        if data is not None:
            report_absent_classes(data.dataset("train"))
            report_anchor_coverage(
                self.model_pipeline.network, self.model_pipeline.preprocessing, data.dataset("train")
            )

    def _report_unscored_masks(self) -> None:
        """Warn if the model predicts masks and the metric does not score them, as after a card for other models."""
        if self.predicts_masks and not self.metric.scores_masks:
            logger.warning(
                "evaluation.metric=%s scores only the boxes, and the model also predicts masks\n"
                "set evaluation.metric=coco_masks; in a card for several models: for.%s.evaluation.metric",
                self.evaluation_options.metric,
                (self.network.spec or {}).get("name", "<model>"),
            )
