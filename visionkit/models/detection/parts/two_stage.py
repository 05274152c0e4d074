"""Base of the detectors with a region proposal network (Ren et al. 2015)."""

from torch import Tensor, nn

from visionkit.backbones.base import Backbone
from visionkit.errors import ConfigError, VisionkitError
from visionkit.models.base import DetectionModel
from visionkit.models.detection.parts.batch import ImageBatch, check_images, pad_to_batch, split_targets
from visionkit.models.detection.parts.roi_heads import RoIHeads, RoISample
from visionkit.models.detection.parts.rpn import RegionProposalNetwork, ScoredAnchors
from visionkit.ops.matching import Objects
from visionkit.ops.nms import NMSOptions
from visionkit.ops.precision import check_finite, full_precision
from visionkit.structures import Prediction, Target

SIZE_MULTIPLE = 32
"""The sides of the padded batch are multiples of this number of pixels, so that the deepest map has whole cells."""


class TwoStageDetector(DetectionModel):
    """Base of Faster R-CNN and its relatives. A subclass fills the attributes.

    Both stages are trained together (Ren et al. 2015, section 3.2, approximate joint training).

    Args:
        backbone: source of the feature maps.
        num_classes: K, without background; labels are 0..K-1.

    Attributes:
        neck: module from the backbone's maps to those of both stages.
        rpn: region proposal network.
        roi_heads: second stage.

    Raises:
        ConfigError: `num_classes` is below 1.
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
        """Learn from images, or detect in them.

        Args:
            images: normalized float [3, H, W] each, of any size.
            targets: in training, per image `boxes` float32 [N, 4] xyxy in its pixels, `labels` int64 [N] in 0..K-1,
                and optionally `crowd` bool [N] (regions that train as nothing) and `image_id` (for messages).
            proposals: not used.

        Returns:
            In training the losses `loss_rpn_objectness`, `loss_rpn_box`, `loss_classifier`, `loss_box`. Else per
            image `boxes` float32 [M, 4] in its pixels, `scores` [M] falling, `labels` int64 [M] in 0..K-1.

        Raises:
            DataError: images or targets that cannot be right; names the image.
            VisionkitError: in evaluation, when the network's output is not finite.
        """
        if not self.training:
            batch, maps, scored = self._first_stage(images)
            return self._detect(batch, maps, scored)
        if targets is None:
            raise VisionkitError("a detector in training mode needs targets; call eval() to predict")
        objects = split_targets(targets, self.num_classes)
        batch, maps, scored = self._first_stage(images)
        return self._losses(batch, maps, scored, objects)

    def losses_and_predictions(
        self, images: list[Tensor], targets: list[Target]
    ) -> tuple[dict[str, Tensor], list[Prediction]]:
        """Both results of `forward`, in the present mode, with backbone and RPN run once."""
        objects = split_targets(targets, self.num_classes)
        batch, maps, scored = self._first_stage(images)
        return self._losses(batch, maps, scored, objects), self._detect(batch, maps, scored)

    @property
    def nms_options(self) -> NMSOptions:
        """How overlapping predictions are filtered."""
        return self.roi_heads.nms

    def anchor_shapes(self, input_size: tuple[int, int] | None = None) -> Tensor:
        """Width and height [A, 2], in pixels of the network's input, of every kind of anchor; on the CPU."""
        return self.rpn.anchors.shapes(input_size)

    def _first_stage(self, images: list[Tensor]) -> tuple[ImageBatch, dict[str, Tensor], ScoredAnchors]:
        batch = pad_to_batch(images, SIZE_MULTIPLE)
        check_images(batch, self.backbone.std)
        maps = self.neck(self.backbone(batch.tensor))
        height, width = batch.tensor.shape[-2:]
        return batch, maps, self.rpn(self._rpn_maps(maps), (height, width))

    def _rpn_maps(self, maps: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the maps of the first stage."""
        return maps

    def _losses(
        self, batch: ImageBatch, maps: dict[str, Tensor], scored: ScoredAnchors, objects: list[Objects]
    ) -> dict[str, Tensor]:
        with full_precision(scored.deltas):
            rpn_losses = self.rpn.losses(scored, objects, batch.sizes)
            sample = self.roi_heads.sample(self.rpn.propose(scored, batch.sizes, training=True), objects)
        return {**rpn_losses, **self._region_losses(batch, maps, sample, objects)}

    def _region_losses(
        self, batch: ImageBatch, maps: dict[str, Tensor], sample: RoISample, objects: list[Objects]
    ) -> dict[str, Tensor]:
        """Return the losses of the second stage."""
        logits, deltas = self.roi_heads(maps, sample.regions)
        with full_precision(deltas):
            return self.roi_heads.losses(logits, deltas, sample)

    def _detect(self, batch: ImageBatch, maps: dict[str, Tensor], scored: ScoredAnchors) -> list[Prediction]:
        with full_precision(scored.deltas):
            proposals = self.rpn.propose(scored, batch.sizes, training=False)
        check_finite(scored.objectness, scored.deltas)
        return self._detect_in_regions(batch, maps, proposals)

    def _detect_in_regions(
        self, batch: ImageBatch, maps: dict[str, Tensor], proposals: list[Tensor]
    ) -> list[Prediction]:
        """Return the detections of the second stage."""
        logits, deltas = self.roi_heads(maps, proposals)
        check_finite(logits, deltas)
        with full_precision(deltas):
            return self.roi_heads.detect(logits, deltas, proposals, batch.sizes)
