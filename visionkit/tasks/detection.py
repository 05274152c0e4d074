"""The detection task: any detection network, trained and evaluated under Lightning."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from visionkit.data.batch import Batch
from visionkit.data.datamodule import VisionData
from visionkit.data.instance_masks import paste_masks
from visionkit.data.preprocess import Geometry, Prediction, Preprocess, Preprocessing, Target
from visionkit.errors import RecipeError
from visionkit.metrics import metrics
from visionkit.metrics.operating_point import OperatingPoint, operating_point
from visionkit.metrics.results import to_coco_results
from visionkit.tasks.base import Task, refusing_lone_values, tasks
from visionkit.tasks.grouping import groups_of_equal_shape
from visionkit.tasks.looks import Look, check_factors, fused, least_score, looks_at, most_detections, refuse_masks
from visionkit.tasks.optimise import OptimizerOptions, ScheduleOptions
from visionkit.tasks.proposals import predict, proposals_for, takes_proposals
from visionkit.tasks.training_objects import report_absent_classes, report_anchor_coverage

logger = logging.getLogger("visionkit")

ROUNDING = ("16-true", "bf16-true")
"""Precisions of the trainer under which Lightning also turns a batch's boxes into half precision."""


@dataclass
class EvaluationOptions:
    """How objects are found in `test` and `predict`, and scored.

    Validation in training looks at each picture once.

    Attributes:
        metric: coco (AP over IoU .50 to .95), coco_masks (the same for masks, beside the boxes'), voc07 (11-point) or
            voc10 (all-point), both at IoU .5.
        scales: factors on the size that `preprocess` gives, at each of which a picture is looked at; what the looks
            find is put together by weighted box fusion.
        flip: whether the mirrored picture is looked at, too.
        fusion_iou: overlap from which boxes of several looks, or of several networks, are taken for one object
            (Solovyev et al. 2019, section 3: .55).
        display_threshold: score from which `predict` draws and lists a box; evaluation takes all boxes.

    Raises:
        RecipeError: numbers that are out of their range.
    """

    metric: Literal["coco", "coco_masks", "voc07", "voc10"] = "coco"
    scales: list[float] = field(default_factory=lambda: [1.0])
    flip: bool = False
    fusion_iou: float = 0.55
    display_threshold: float = 0.5

    def __post_init__(self) -> None:
        check_factors(self.scales)
        if not 0 <= self.fusion_iou <= 1:
            raise RecipeError(f"evaluation.fusion_iou is {self.fusion_iou}, and must be in 0..1")

    @property
    def looks(self) -> list[Look]:
        """At each picture, in `test` and `predict`."""
        return looks_at(self.scales, self.flip)


@tasks.register("detection")
class Detection(Task):
    """Object detection.

    Args:
        model: a detection network: `(pictures, targets)` gives a dict of losses in training, `(pictures)`
            a list of boxes/scores/labels in evaluation, labels 0..K-1. One with `takes_proposals` finds no regions
            by itself: targets have `proposals`, and in evaluation it is called as `(pictures, proposals=...)`.
        class_names: K names in label order.
        category_ids: the data set's own class ids, for result files; None numbers them from 1.
        preprocess: how pictures are brought to the network's input.
        optimizer: optimiser and rates.
        schedule: the rate over time.
        evaluation: how predictions are scored.
    """

    name: ClassVar[str] = "detection"
    option_types: ClassVar[dict[str, type]] = {
        "preprocess": Preprocess,
        **Task.option_types,
        "evaluation": EvaluationOptions,
    }
    preprocessing: Preprocessing

    def __init__(
        self,
        model: nn.Module,
        class_names: list[str],
        category_ids: list[int] | None = None,
        preprocess: Preprocess | None = None,
        optimizer: OptimizerOptions | None = None,
        schedule: ScheduleOptions | None = None,
        evaluation: EvaluationOptions | None = None,
    ) -> None:
        super().__init__(model, class_names, category_ids, preprocess, optimizer, schedule)
        self.score_by(evaluation or EvaluationOptions())
        self.predictions: list[Prediction] = []
        self.point: OperatingPoint | None = None

    def score_by(self, evaluation: EvaluationOptions) -> None:
        """Find and score from now on as `evaluation` says; the network is not touched.

        Raises:
            RecipeError: it wants several looks at a picture, and the network gives masks.
        """
        if len(evaluation.looks) > 1:
            refuse_masks(self.network, "evaluation.scales and flip")
        self.evaluation_options = evaluation
        make_metric = metrics.get(evaluation.metric)
        self.metric = make_metric(class_names=self.class_names, category_ids=self.category_ids)

    @property
    def monitor(self) -> str:
        """The main metric on the validation split: AP (COCO) or AP50 (VOC)."""
        return f"val/{self.metric.main}"

    @property
    def least_score(self) -> float:
        """See `Task.least_score`."""
        return least_score(self.network)

    def prediction_rows(self) -> list[dict[str, Any]]:
        """The boxes in COCO's results format, with the data set's own category ids."""
        return to_coco_results(self.predictions, self.category_ids)

    def details(self) -> dict[str, Any]:
        """The confusion matrix at each class's best threshold."""
        return {"confusion": self.point.confusion.tolist() if self.point is not None else None}

    def forward(self, pictures: Sequence[Tensor], targets: Sequence[Target] | None = None) -> list[Prediction]:
        """Detect objects, in as many looks as the evaluation options say.

        Args:
            pictures: uint8 [3, H, W] each, RGB.
            targets: what is known of each picture; of it a network that takes proposals is given these.

        Returns:
            Per picture boxes [M, 4] in its own pixels, scores [M] falling, labels [M].
        """
        proposals: list[Tensor] | None = None
        if takes_proposals(self.network):
            given = [target.get("proposals") for target in targets or [{}] * len(pictures)]
            proposals = proposals_for(pictures, given, self.recipe)
        return self.fused([self._look(look, pictures, proposals) for look in self.evaluation_options.looks])

    def fused(self, looks: Sequence[list[Prediction]]) -> list[Prediction]:
        """What several looks found in each of some pictures, made one; no more than a look at it may give."""
        most = most_detections(self.network)
        return [fused(of_one, self.evaluation_options.fusion_iou, most) for of_one in zip(*looks, strict=True)]

    def _look(self, look: Look, pictures: Sequence[Tensor], proposals: Sequence[Tensor] | None) -> list[Prediction]:
        """What one look finds in pictures, with proposals in their pixels where the network takes them."""
        prepared, geometries = self.preprocessing([look.picture(picture) for picture in pictures], factor=look.factor)
        regions = None
        if proposals is not None:
            placed = zip(proposals, geometries, strict=True)
            regions = [geometry.enter(look.boxes(boxes, geometry.width)) for boxes, geometry in placed]
        found: list[Prediction] = [{}] * len(prepared)
        for group in groups_of_equal_shape(prepared):
            own = None if regions is None else [regions[index] for index in group]
            predictions = predict(self.network, [prepared[index] for index in group], own)
            for index, prediction in zip(group, predictions, strict=True):
                found[index] = prediction
        restored = zip(_restored(found, geometries), geometries, strict=True)
        return [{**one, "boxes": look.boxes(one["boxes"], geometry.width)} for one, geometry in restored]

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """One step: the sum of the network's losses."""
        size = self.preprocessing.training_size(self.global_step, self.recipe.get("seed", 0))
        pictures, geometries = self.preprocessing(batch.pictures, size)
        with refusing_lone_values():
            losses = self.network(pictures, Preprocessing.resize_targets(batch.targets, geometries))
        loss = self.total_loss(losses, batch.image_ids)
        self.log_losses("train", {"loss": loss.detach(), **losses}, len(pictures))
        return loss

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Losses and predictions from one forward pass; the predictions are scored in original pixels."""
        prepared, geometries = self.preprocessing(batch.pictures)
        targets = Preprocessing.resize_targets(batch.targets, geometries)
        for group in groups_of_equal_shape(prepared):
            losses, predictions = self.network.losses_and_predictions(  # type: ignore[operator]
                [prepared[index] for index in group], [targets[index] for index in group]
            )
            if losses:
                self.log_losses("val", {"loss": sum(losses.values()), **losses}, len(group))
            restored = _restored(predictions, [geometries[index] for index in group])
            self.metric.update(restored, [batch.targets[index] for index in group])

    def test_step(self, batch: Batch, batch_index: int) -> None:
        """Predict as `predict` does, for the figures and the results file."""
        self.metric.update(self(batch.pictures, batch.targets), batch.targets)

    def on_validation_epoch_end(self) -> None:
        """Score the validation split."""
        self.score("val")

    def on_test_start(self) -> None:
        """Say which detections the figures are of."""
        most = most_detections(self.network)
        logger.info("scored: what has a score above %g, at most %s of a picture", self.least_score, most)

    def on_test_epoch_end(self) -> None:
        """Score the test split, and keep all processes' boxes for the results file."""
        records = self.metric.gathered()
        self.score("test")
        self.point = operating_point(list(records.values()), len(self.class_names))
        self.results |= self.point.figures(self.class_names)
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
            RecipeError: the trainer turns all that it is given into half precision.
        """
        if self.trainer.precision in ROUNDING:
            raise RecipeError(
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
    """Predictions in the pixels of the original pictures, with run-length code of masks where a network gives masks."""
    restored = Preprocessing.restore(predictions, geometries)
    for prediction, geometry in zip(restored, geometries, strict=True):
        if "mask_probabilities" in prediction:
            probabilities = prediction.pop("mask_probabilities")
            size = (geometry.height, geometry.width)
            prediction["masks"] = paste_masks(probabilities.float(), prediction["boxes"], size)
    return restored
