"""What the detectors share that judge given proposals, and find none by themselves."""

from typing import ClassVar

from torch import Tensor

from visionkit.errors import VisionkitError
from visionkit.models.base import DetectionModel
from visionkit.models.detection.parts.batch import ImageBatch, given_proposals, split_targets
from visionkit.models.detection.parts.box_head import PooledRoIHeads
from visionkit.ops.matching import Objects
from visionkit.ops.nms import NMSOptions
from visionkit.ops.precision import check_finite, full_precision
from visionkit.structures import Prediction, Target


class ExternalProposalDetector(DetectionModel):
    """Base of R-CNN and Fast R-CNN. A network fills the attributes and says what regions are cut from.

    Attributes:
        num_classes: K.
        roi_heads: judges regions.
    """

    takes_proposals: ClassVar[bool] = True
    roi_heads: PooledRoIHeads

    def forward(
        self,
        images: list[Tensor],
        targets: list[Target] | None = None,
        proposals: list[Tensor] | None = None,
    ) -> dict[str, Tensor] | list[Prediction]:
        """Learn from images, or detect in them.

        Args:
            images: normalized float [3, H, W] each, of any size.
            targets: in training, as for `FasterRCNN`, and with `proposals` float32 [P, 4] xyxy in the image's pixels.
            proposals: in evaluation, per image [P, 4]; P may be 0.

        Returns:
            In training the losses `loss_classifier` and `loss_box`. Else per image `boxes` float32 [M, 4] in its
            pixels, `scores` [M] falling, `labels` int64 [M] in 0..K-1.

        Raises:
            DataError: images, targets or proposals that cannot be right; names the image.
            VisionkitError: in evaluation, when the network's output is not finite.
        """
        if not self.training:
            batch, maps = self._features(images)
            return self._detect(batch, maps, given_proposals(proposals, len(images)))
        if targets is None:
            raise VisionkitError("a detector in training mode needs targets; call eval() to predict")
        regions = given_proposals([target.get("proposals") for target in targets], len(images))
        _, maps = self._features(images)
        return self._losses(maps, regions, split_targets(targets, self.num_classes))

    @property
    def nms_options(self) -> NMSOptions:
        """How overlapping predictions are filtered."""
        return self.roi_heads.nms

    def losses_and_predictions(
        self, images: list[Tensor], targets: list[Target]
    ) -> tuple[dict[str, Tensor], list[Prediction]]:
        """Both results of `forward`, in the present mode, with the backbone run once."""
        objects = split_targets(targets, self.num_classes)
        regions = given_proposals([target.get("proposals") for target in targets], len(images))
        batch, maps = self._features(images)
        return self._losses(maps, regions, objects), self._detect(batch, maps, regions)

    def _features(self, images: list[Tensor]) -> tuple[ImageBatch, dict[str, Tensor]]:
        """The images as one batch, and the maps that `roi_heads` cuts regions from."""
        raise NotImplementedError

    def _losses(self, maps: dict[str, Tensor], regions: list[Tensor], objects: list[Objects]) -> dict[str, Tensor]:
        sample = self.roi_heads.sample(regions, objects)
        logits, deltas = self.roi_heads(maps, sample.regions)
        with full_precision(deltas):
            return self.roi_heads.losses(logits, deltas, sample)

    def _detect(self, batch: ImageBatch, maps: dict[str, Tensor], regions: list[Tensor]) -> list[Prediction]:
        logits, deltas = self.roi_heads(maps, regions)
        check_finite(logits, deltas)
        with full_precision(deltas):
            return self.roi_heads.detect(logits, deltas, regions, batch.sizes)
