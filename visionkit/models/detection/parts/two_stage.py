"""Base of the two-stage detectors with a region proposal network (Ren et al. 2015)."""

from torch import Tensor, nn

from visionkit.backbones.base import Backbone
from visionkit.errors import ConfigError, VisionkitError
from visionkit.models.base import DetectionModel
from visionkit.models.detection.parts.batch import ImageBatch, check_images, pad_targets, pad_to_batch
from visionkit.models.detection.parts.roi_heads import RoIHeads, RoISample
from visionkit.models.detection.parts.rpn import RegionProposalNetwork, RPNOutput
from visionkit.ops.float32 import check_finite, full_precision
from visionkit.ops.matching import PaddedObjects
from visionkit.ops.nms import NMSOptions
from visionkit.structures import Prediction, Target

SIZE_MULTIPLE = 32
"""Pixels; height and width of the padded batch are multiples of it, so that the deepest map has whole cells."""


class TwoStageDetector(DetectionModel):
    """Base of Faster R-CNN and R-FCN. Subclasses set `neck`, `rpn` and `roi_heads`.

    Both stages train at once (Ren et al. 2015, section 3.2, approximate joint training).

    Args:
        backbone: source of the feature maps.
        num_classes: K, without background; labels are 0..K-1.

    Attributes:
        neck: from the backbone's maps to those of the two stages.
        rpn: first stage, proposes regions.
        roi_heads: second stage, scores and refines them.

    Raises:
        ConfigError: there is no class.
    """

    neck: nn.Module
    rpn: RegionProposalNetwork
    roi_heads: RoIHeads

    def __init__(self, backbone: Backbone, num_classes: int) -> None:
        super().__init__()
        if num_classes < 1:
            raise ConfigError(f"num_classes={num_classes}: a detector needs at least one class besides background")
        self.num_classes = num_classes
        self.backbone = backbone

    def forward(
        self,
        images: list[Tensor],
        targets: list[Target] | None = None,
        proposals: list[Tensor] | None = None,
    ) -> dict[str, Tensor] | list[Prediction]:
        """Return the losses in training mode, the predictions in evaluation mode.

        Args:
            images: normalized float [3, H, W] each, of any size.
            targets: in training, per image `boxes` float32 [N, 4] xyxy in its pixels, `labels` int64 [N] in 0..K-1,
                and optionally `crowd` bool [N] (regions that are ignored in the loss) and `image_id` (for messages).
            proposals: not used.

        Returns:
            In training the losses `loss_rpn_objectness`, `loss_rpn_box`, `loss_classifier`, `loss_box`. In evaluation
            per image `boxes` float32 [M, 4] in its pixels, `scores` [M] in descending order,
            `labels` int64 [M] in 0..K-1.

        Raises:
            DataError: invalid images or targets; the message names the image. In training on a GPU,
                values are not read, which would wait: a task checks them before.
            VisionkitError: in evaluation, the output of the model is not finite.
        """
        if not self.training:
            batch, maps, rpn_output = self._first_stage(images)
            return self._predictions(batch, maps, rpn_output)
        if targets is None:
            raise VisionkitError("a detector in training mode needs targets; call eval() to predict")
        objects = pad_targets(targets, self.num_classes)
        batch, maps, rpn_output = self._first_stage(images)
        return self._losses(batch, maps, rpn_output, objects)

    def losses_and_predictions(
        self, images: list[Tensor], targets: list[Target]
    ) -> tuple[dict[str, Tensor], list[Prediction]]:
        """Return both results of `forward` from one pass of backbone and RPN, in the present mode."""
        objects = pad_targets(targets, self.num_classes)
        batch, maps, rpn_output = self._first_stage(images)
        return self._losses(batch, maps, rpn_output, objects), self._predictions(batch, maps, rpn_output)

    @property
    def nms_options(self) -> NMSOptions:
        """How overlapping predictions are filtered."""
        return self.roi_heads.nms

    def anchor_shapes(self, input_size: tuple[int, int] | None = None) -> Tensor:
        """Return width and height [A, 2] of every kind of anchor, in input pixels, on the CPU."""
        return self.rpn.anchors.shapes(input_size)

    def _first_stage(self, images: list[Tensor]) -> tuple[ImageBatch, dict[str, Tensor], RPNOutput]:
        """Return the padded batch, the maps of the neck and the output of the RPN."""
        batch = pad_to_batch(images, SIZE_MULTIPLE)
        check_images(batch, self.backbone.std, self.training)
        maps = self.neck(self.backbone(batch.tensor))
        height, width = batch.tensor.shape[-2:]
        return batch, maps, self.rpn(self._rpn_maps(maps), (height, width))

    def _rpn_maps(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return those of the neck's maps that the RPN uses."""
        return maps

    def _losses(
        self, batch: ImageBatch, maps: dict[str, Tensor], rpn_output: RPNOutput, objects: PaddedObjects
    ) -> dict[str, Tensor]:
        with full_precision(rpn_output.deltas):
            rpn_losses = self.rpn.losses(rpn_output, objects, batch.sizes)
            proposals = self.rpn.propose(rpn_output, batch.sizes, for_training=True)
            sample = self.roi_heads.sample(proposals, objects)
        return {**rpn_losses, **self._second_stage_losses(batch, maps, sample, objects)}

    def _second_stage_losses(
        self, batch: ImageBatch, maps: dict[str, Tensor], sample: RoISample, objects: PaddedObjects
    ) -> dict[str, Tensor]:
        """Return the losses of the second stage."""
        logits, deltas = self.roi_heads(maps, sample.rois, sample.used.flatten())
        with full_precision(deltas):
            return self.roi_heads.losses(logits, deltas, sample)

    def _predictions(self, batch: ImageBatch, maps: dict[str, Tensor], rpn_output: RPNOutput) -> list[Prediction]:
        with full_precision(rpn_output.deltas):
            proposals = self.rpn.propose(rpn_output, batch.sizes, for_training=False).per_image()
        check_finite(rpn_output.objectness, rpn_output.deltas)
        return self._second_stage_predictions(batch, maps, proposals)

    def _second_stage_predictions(
        self, batch: ImageBatch, maps: dict[str, Tensor], proposals: list[Tensor]
    ) -> list[Prediction]:
        """Return the predictions for proposals [P, 4] of each image."""
        logits, deltas = self.roi_heads(maps, proposals)
        check_finite(logits, deltas)
        with full_precision(deltas):
            return self.roi_heads.predictions(logits, deltas, proposals, batch.sizes)
