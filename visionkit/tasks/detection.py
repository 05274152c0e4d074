"""The detection task: any detection network, trained and evaluated under Lightning."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from torch import Tensor

from visionkit.data.batch import Batch
from visionkit.data.datamodule import VisionData
from visionkit.errors import ConfigError
from visionkit.metrics.coco_results import to_coco_results
from visionkit.metrics.operating_point import OperatingPoint, operating_point
from visionkit.metrics.records import detection_metrics
from visionkit.models.base import DetectionModel
from visionkit.preprocessing.detection import DetectionPreprocessing, DetectionPreprocessOptions, Geometry
from visionkit.preprocessing.paste_masks import paste_masks
from visionkit.structures import Prediction, Target
from visionkit.tasks.base import Task, explain_batch_norm_error, tasks
from visionkit.tasks.detection_tta import (
    View,
    check_factors,
    fused,
    min_score,
    most_detections,
    refuse_masks,
    tta_views,
)
from visionkit.tasks.group_by_shape import group_by_shape
from visionkit.tasks.optimizers import OptimizerOptions, ScheduleOptions
from visionkit.tasks.proposals import predict, proposals_for
from visionkit.tasks.training_checks import report_absent_classes, report_anchor_coverage

logger = logging.getLogger("visionkit")

ROUNDING = ("16-true", "bf16-true")
"""Precisions of the trainer under which Lightning also turns a batch's boxes into half precision."""


@dataclass
class DetectionEvaluationOptions:
    """How objects are found in `test` and `predict`, and scored.

    Validation in training looks at each image once.

    Attributes:
        metric: coco (AP over IoU .50 to .95), coco_masks (the same for masks, beside the boxes'), voc07 (11-point) or
            voc10 (all-point), both at IoU .5.
        scales: factors on the size that `preprocess` gives, at each of which an image is looked at; what the looks
            find is put together by weighted box fusion.
        flip: whether the mirrored image is looked at, too.
        fusion_iou: overlap from which boxes of several looks, or of several networks, are taken for one object
            (Solovyev et al. 2019, section 3: .55).
        display_threshold: score from which `predict` draws and lists a box; evaluation takes all boxes.

    Raises:
        ConfigError: numbers that are out of their range.
    """

    metric: Literal["coco", "coco_masks", "voc07", "voc10"] = "coco"
    scales: list[float] = field(default_factory=lambda: [1.0])
    flip: bool = False
    fusion_iou: float = 0.55
    display_threshold: float = 0.5

    def __post_init__(self) -> None:
        check_factors(self.scales)
        if not 0 <= self.fusion_iou <= 1:
            raise ConfigError(f"evaluation.fusion_iou is {self.fusion_iou}, and must be in 0..1")

    @property
    def views(self) -> list[View]:
        """At each image, in `test` and `predict`."""
        return tta_views(self.scales, self.flip)


@tasks.register("detection")
class Detection(Task):
    """Object detection.

    Args:
        model: a detection network: `(images, targets)` gives a dict of losses in training, `(images)`
            a list of boxes/scores/labels in evaluation, labels 0..K-1. One with `takes_proposals` finds no regions
            by itself: targets have `proposals`, and in evaluation it is called as `(images, proposals=...)`.
        class_names: K names in label order.
        category_ids: the data set's own class ids, for result files; None numbers them from 1.
        preprocess: how images are brought to the network's input.
        optimizer: optimizer and rates.
        schedule: the rate over time.
        evaluation: how predictions are scored.
    """

    name: ClassVar[str] = "detection"
    option_types: ClassVar[dict[str, type]] = {
        "preprocess": DetectionPreprocessOptions,
        **Task.option_types,
        "evaluation": DetectionEvaluationOptions,
    }
    network: DetectionModel
    preprocessing: DetectionPreprocessing

    def __init__(
        self,
        model: DetectionModel,
        class_names: list[str],
        category_ids: list[int] | None = None,
        preprocess: DetectionPreprocessOptions | None = None,
        optimizer: OptimizerOptions | None = None,
        schedule: ScheduleOptions | None = None,
        evaluation: DetectionEvaluationOptions | None = None,
    ) -> None:
        super().__init__(model, class_names, category_ids, preprocess, optimizer, schedule)
        self.set_evaluation(evaluation or DetectionEvaluationOptions())
        self.predictions: list[dict[str, Any]] = []
        self.point: OperatingPoint | None = None

    def set_evaluation(self, evaluation: DetectionEvaluationOptions) -> None:
        """Find and score from now on as `evaluation` says; the network is not touched.

        Raises:
            ConfigError: it wants several looks at an image, and the network gives masks.
        """
        if len(evaluation.views) > 1:
            refuse_masks(self.network, "evaluation.scales and flip")
        self.evaluation_options = evaluation
        make_metric = detection_metrics.get(evaluation.metric)
        self.metric = make_metric(class_names=self.class_names, category_ids=self.category_ids)

    @property
    def monitor(self) -> str:
        """The main metric on the validation split: AP (COCO) or AP50 (VOC)."""
        return f"val/{self.metric.main}"

    @property
    def min_score(self) -> float:
        """See `Task.min_score`."""
        return min_score(self.network)

    def predictions_for_json(self) -> list[dict[str, Any]]:
        """The boxes in COCO's results format, with the data set's own category ids."""
        return to_coco_results(self.predictions, self.category_ids)

    def details(self) -> dict[str, Any]:
        """The confusion matrix at each class's best threshold."""
        return {"confusion": self.point.confusion.tolist() if self.point is not None else None}

    def forward(self, images: Sequence[Tensor], targets: Sequence[Target] | None = None) -> list[Prediction]:
        """Detect objects, in as many looks as the evaluation options say.

        Args:
            images: uint8 [3, H, W] each, RGB.
            targets: what is known of each image; of it a network that takes proposals is given these.

        Returns:
            Per image boxes [M, 4] in its own pixels, scores [M] falling, labels [M].
        """
        proposals: list[Tensor] | None = None
        if self.network.takes_proposals:
            given = [target.get("proposals") for target in targets or [{}] * len(images)]
            proposals = proposals_for(images, given, self.recipe)
        return self.fused([self._forward_view(view, images, proposals) for view in self.evaluation_options.views])

    def fused(self, views: Sequence[list[Prediction]]) -> list[Prediction]:
        """What several looks found in each of some images, made one; no more than a look at it may give."""
        most = most_detections(self.network)
        return [fused(per_view, self.evaluation_options.fusion_iou, most) for per_view in zip(*views, strict=True)]

    def _forward_view(
        self, view: View, images: Sequence[Tensor], proposals: Sequence[Tensor] | None
    ) -> list[Prediction]:
        """What one look finds in images, with proposals in their pixels where the network takes them."""
        prepared, geometries = self.preprocessing([view.image(image) for image in images], factor=view.factor)
        regions = None
        if proposals is not None:
            placed = zip(proposals, geometries, strict=True)
            regions = [geometry.enter(view.boxes(boxes, geometry.width)) for boxes, geometry in placed]
        found: list[Prediction] = [{}] * len(prepared)
        for group in group_by_shape(prepared):
            own = None if regions is None else [regions[index] for index in group]
            predictions = predict(self.network, [prepared[index] for index in group], own)
            for index, prediction in zip(group, predictions, strict=True):
                found[index] = prediction
        restored = zip(_restored(found, geometries), geometries, strict=True)
        return [{**one, "boxes": view.boxes(one["boxes"], geometry.width)} for one, geometry in restored]

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """One step: the sum of the network's losses."""
        size = self.preprocessing.training_size(self.global_step, self.recipe.get("seed", 0))
        images, geometries = self.preprocessing(batch.images, size)
        with explain_batch_norm_error():
            losses = self.network(images, DetectionPreprocessing.resize_targets(batch.targets, geometries))
        loss = self.total_loss(losses, batch.image_ids)
        self.log_losses("train", {"loss": loss.detach(), **losses}, len(images))
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Losses and predictions from one forward pass; the predictions are scored in original pixels."""
        prepared, geometries = self.preprocessing(batch.images)
        targets = DetectionPreprocessing.resize_targets(batch.targets, geometries)
        for group in group_by_shape(prepared):
            losses, predictions = self.network.losses_and_predictions(  # type: ignore[operator]
                [prepared[index] for index in group], [targets[index] for index in group]
            )
            if losses:
                self.log_losses("val", {"loss": sum(losses.values()), **losses}, len(group))
            restored = _restored(predictions, [geometries[index] for index in group])
            self.metric.update(restored, [batch.targets[index] for index in group])

    def test_step(self, batch: Batch, batch_index: int) -> None:
        """Predict as `predict` does, for the metrics and the results file."""
        self.metric.update(self(batch.images, batch.targets), batch.targets)

    def on_validation_epoch_end(self) -> None:
        """Score the validation split."""
        self.score("val")

    def on_test_start(self) -> None:
        """Say which detections the metrics are of."""
        most = most_detections(self.network)
        logger.info("scored: what has a score above %g, at most %s of an image", self.min_score, most)

    def on_test_epoch_end(self) -> None:
        """Score the test split, and keep all processes' boxes for the results file."""
        records = self.metric.gathered()
        self.score("test")
        self.point = operating_point(list(records.values()), len(self.class_names))
        self.results |= self.point.metrics(self.class_names)
        self.predictions = [
            {
                "image_id": image_id,
                "boxes": found.boxes,
                "scores": found.scores,
                "labels": found.labels,
                "masks": found.masks,
            }
            for image_id, found in records.items()
        ]

    def setup(self, stage: str) -> None:
        """Refuse what would round the boxes of the annotations by pixels.

        Raises:
            ConfigError: the trainer turns all that it is given into half precision.
        """
        if self.trainer.precision in ROUNDING:
            raise ConfigError(
                f"trainer.precision={self.trainer.precision} would round the boxes of annotations, too\n"
                f"set trainer.precision={str(self.trainer.precision).replace('true', 'mixed')}"
            )

    def on_fit_start(self) -> None:
        """Say what trains, which classes have no object, and how many objects no anchor can reach."""
        super().on_fit_start()
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, VisionData):
            report_absent_classes(data.dataset("train"))
            report_anchor_coverage(self.network, self.preprocessing, data.dataset("train"))


def _restored(predictions: Sequence[Prediction], geometries: Sequence[Geometry]) -> list[Prediction]:
    """Predictions in the pixels of the original images, with run-length code of masks where a network gives masks."""
    restored = DetectionPreprocessing.restore(predictions, geometries)
    for prediction, geometry in zip(restored, geometries, strict=True):
        if "mask_probabilities" in prediction:
            probabilities = prediction.pop("mask_probabilities")
            size = (geometry.height, geometry.width)
            prediction["masks"] = paste_masks(probabilities.float(), prediction["boxes"], size)
    return restored
