"""The detection task: any detection network, trained and evaluated under Lightning."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from visionkit.data.batch import Batch
from visionkit.data.instance_masks import paste_masks
from visionkit.data.preprocess import Geometry, Prediction, Preprocess, Preprocessing, Target
from visionkit.metrics import metrics
from visionkit.metrics.operating_point import OperatingPoint, operating_point
from visionkit.metrics.results import to_coco_results
from visionkit.ops.anchors import best_anchor_iou
from visionkit.tasks.base import Task, tasks
from visionkit.tasks.grouping import groups_of_equal_shape
from visionkit.tasks.optimise import OptimizerOptions, ScheduleOptions
from visionkit.tasks.proposals import predict, proposals_for, takes_proposals

logger = logging.getLogger("visionkit")

Prepared = tuple[list[Tensor], list[Target]]


@dataclass
class EvaluationOptions:
    """How predictions are scored.

    Attributes:
        metric: coco (AP over IoU .50 to .95), coco_masks (the same for masks, beside the boxes'), voc07 (11-point) or
            voc10 (all-point), both at IoU .5.
        display_threshold: score from which `predict` draws and lists a box; evaluation takes all boxes.
    """

    metric: Literal["coco", "coco_masks", "voc07", "voc10"] = "coco"
    display_threshold: float = 0.5


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
        """Score from now on as `evaluation` says; the network is not touched."""
        self.evaluation_options = evaluation
        make_metric = metrics.get(evaluation.metric)
        self.metric = make_metric(class_names=self.class_names, category_ids=self.category_ids)

    @property
    def monitor(self) -> str:
        """The main metric on the validation split: AP (COCO) or AP50 (VOC)."""
        return f"val/{self.metric.main}"

    def prediction_rows(self) -> list[dict[str, Any]]:
        """The boxes in COCO's results format, with the data set's own category ids."""
        return to_coco_results(self.predictions, self.category_ids)

    def details(self) -> dict[str, Any]:
        """The confusion matrix at each class's best threshold."""
        return {"confusion": self.point.confusion.tolist() if self.point is not None else None}

    def forward(self, pictures: Sequence[Tensor], targets: Sequence[Target] | None = None) -> list[Prediction]:
        """Detect objects.

        Args:
            pictures: uint8 [3, H, W] each, RGB.
            targets: what is known of each picture; of it a network that takes proposals is given these.

        Returns:
            Per picture boxes [M, 4] in its own pixels, scores [M] falling, labels [M].
        """
        prepared, geometries = self.preprocessing(pictures)
        proposals: list[Tensor] | None = None
        if takes_proposals(self.network):
            given = [target.get("proposals") for target in targets or [{}] * len(pictures)]
            proposals = proposals_for(pictures, geometries, given, self.recipe)
        found: list[Prediction] = [{}] * len(prepared)
        for group in groups_of_equal_shape(prepared):
            regions = None if proposals is None else [proposals[index] for index in group]
            predictions = predict(self.network, [prepared[index] for index in group], regions)
            for index, prediction in zip(group, predictions, strict=True):
                found[index] = prediction
        return _restored(found, geometries)

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """One step: the sum of the network's losses."""
        size = self.preprocessing.training_size(self.global_step, self.recipe.get("seed", 0))
        pictures, geometries = self.preprocessing(batch.pictures, size)
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
            self.log_losses("val", {"loss": sum(losses.values()), **losses}, len(group))
            restored = _restored(predictions, [geometries[index] for index in group])
            self.metric.update(restored, [batch.targets[index] for index in group])

    def test_step(self, batch: Batch, batch_index: int) -> None:
        """Predict as `predict` does, for the figures and the results file."""
        self.metric.update(self(batch.pictures, batch.targets), batch.targets)

    def on_validation_epoch_end(self) -> None:
        """Score the validation split."""
        self.score("val")

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

    def on_fit_start(self) -> None:
        """Say what trains, and how many objects no anchor can reach."""
        super().on_fit_start()
        datamodule = getattr(self.trainer, "datamodule", None)
        if datamodule is not None and hasattr(self.network, "anchor_shapes"):
            self._report_anchor_coverage(datamodule.dataset("train"))

    def _report_anchor_coverage(self, dataset: Any, most: int = 2000) -> None:
        """Log the share of objects that no anchor reaches with IoU .5, over at most `most` pictures."""
        sizes, geometry = [], self.preprocessing.geometry(1, 1)
        for index in range(0, len(dataset), max(len(dataset) // most, 1)):
            geometry = self.preprocessing.geometry(*dataset.picture_size(index))
            sizes.append(_box_sizes(dataset.annotation(index).boxes, geometry))
        boxes = torch.cat(sizes)
        shapes = self.network.anchor_shapes(geometry.input_size)  # type: ignore[operator]
        if len(boxes) and len(shapes):
            share = (best_anchor_iou(boxes, shapes) < 0.5).float().mean().item()
            logger.log(
                logging.WARNING if share > 0.1 else logging.INFO,
                "anchors: no anchor reaches %.1f %% of %d objects with IoU .5 at input scale",
                100 * share,
                len(boxes),
            )


def _restored(predictions: Sequence[Prediction], geometries: Sequence[Geometry]) -> list[Prediction]:
    """Predictions in the pixels of the original pictures, with run-length code of masks where a network gives masks."""
    restored = Preprocessing.restore(predictions, geometries)
    for prediction, geometry in zip(restored, geometries, strict=True):
        if "mask_probabilities" in prediction:
            probabilities = prediction.pop("mask_probabilities")
            size = (geometry.height, geometry.width)
            prediction["masks"] = paste_masks(probabilities.float(), prediction["boxes"], size)
    return restored


def _box_sizes(boxes: Any, geometry: Any) -> Tensor:
    """Width and height [N, 2] of xyxy boxes in resized pixels."""
    corners = torch.as_tensor(boxes)
    return (corners[:, 2:] - corners[:, :2]) * torch.tensor([geometry.scale_x, geometry.scale_y])
