"""What the detectors share that judge given proposals, and find none by themselves."""

from typing import ClassVar

from torch import Tensor, nn

from visionkit.errors import VisionkitError
from visionkit.models.detection.batch import PictureBatch, Prediction, Target, given_proposals, split_targets
from visionkit.models.detection.box_head import RegionHeads
from visionkit.ops.matching import Objects
from visionkit.ops.precision import check_finite, full_precision


class GivenRegions(nn.Module):
    """Base of R-CNN and Fast R-CNN. A network fills the attributes and says what regions are cut from.

    Attributes:
        num_classes: K.
        roi_heads: judges regions.
    """

    task: ClassVar[str] = "detection"
    takes_proposals: ClassVar[bool] = True
    num_classes: int
    roi_heads: RegionHeads

    def forward(
        self,
        pictures: list[Tensor],
        targets: list[Target] | None = None,
        proposals: list[Tensor] | None = None,
    ) -> dict[str, Tensor] | list[Prediction]:
        """Learn from pictures, or detect in them.

        Args:
            pictures: normalised float [3, H, W] each, of any size.
            targets: in training, as for `FasterRCNN`, and with `proposals` float32 [P, 4] xyxy in the picture's pixels.
            proposals: in evaluation, per picture [P, 4]; P may be 0.

        Returns:
            In training the losses `loss_classifier` and `loss_box`. Else per picture `boxes` float32 [M, 4] in its
            pixels, `scores` [M] falling, `labels` int64 [M] in 0..K-1.

        Raises:
            DataError: pictures, targets or proposals that cannot be right; names the picture.
            VisionkitError: in evaluation, when the network's output is not finite.
        """
        if not self.training:
            batch, maps = self._features(pictures)
            return self._detect(batch, maps, given_proposals(proposals, len(pictures)))
        if targets is None:
            raise VisionkitError("a detector in training mode needs targets; call eval() to predict")
        regions = given_proposals([target.get("proposals") for target in targets], len(pictures))
        _, maps = self._features(pictures)
        return self._losses(maps, regions, split_targets(targets, self.num_classes))

    def losses_and_predictions(
        self, pictures: list[Tensor], targets: list[Target]
    ) -> tuple[dict[str, Tensor], list[Prediction]]:
        """Both results of `forward`, in the present mode, with the backbone run once."""
        objects = split_targets(targets, self.num_classes)
        regions = given_proposals([target.get("proposals") for target in targets], len(pictures))
        batch, maps = self._features(pictures)
        return self._losses(maps, regions, objects), self._detect(batch, maps, regions)

    def _features(self, pictures: list[Tensor]) -> tuple[PictureBatch, dict[str, Tensor]]:
        """The pictures as one batch, and the maps that `roi_heads` cuts regions from."""
        raise NotImplementedError

    def _losses(self, maps: dict[str, Tensor], regions: list[Tensor], objects: list[Objects]) -> dict[str, Tensor]:
        sample = self.roi_heads.sample(regions, objects)
        logits, deltas = self.roi_heads(maps, sample.regions)
        with full_precision(deltas):
            return self.roi_heads.losses(logits, deltas, sample)

    def _detect(self, batch: PictureBatch, maps: dict[str, Tensor], regions: list[Tensor]) -> list[Prediction]:
        logits, deltas = self.roi_heads(maps, regions)
        check_finite(logits, deltas)
        with full_precision(deltas):
            return self.roi_heads.detect(logits, deltas, regions, batch.sizes)
