"""Base of the detectors that classify given proposals (Girshick et al. 2014; Girshick 2015)."""

from typing import ClassVar

from torch import Tensor

from visionkit.errors import VisionkitError
from visionkit.models.base import DetectionModel
from visionkit.models.detection.parts.batch import ImageBatch, pad_rows, pad_targets
from visionkit.models.detection.parts.box_head import PooledRoIHeads
from visionkit.models.detection.parts.rpn import Proposals
from visionkit.models.detection.parts.target_checks import check_proposals
from visionkit.ops.float32 import check_finite, full_precision
from visionkit.ops.matching import PaddedObjects
from visionkit.ops.nms import NMSOptions
from visionkit.structures import Prediction, Target


class ExternalProposalDetector(DetectionModel):
    """Base of R-CNN and Fast R-CNN. Subclasses set the attributes and define `_features`.

    Attributes:
        num_classes: K, without background.
        roi_heads: scores and refines regions.
    """

    takes_proposals: ClassVar[bool] = True
    roi_heads: PooledRoIHeads

    def forward(
        self,
        images: list[Tensor],
        targets: list[Target] | None = None,
        proposals: list[Tensor] | None = None,
    ) -> dict[str, Tensor] | list[Prediction]:
        """Return the losses in training mode, the predictions in evaluation mode.

        Args:
            images: normalized float [3, H, W] each, of any size.
            targets: in training, per image the same as for `FasterRCNN`, and `proposals` float32 [P, 4] xyxy in its
                pixels.
            proposals: in evaluation, per image float32 [P, 4] xyxy in its pixels; P may be 0.

        Returns:
            In training the losses `loss_classifier` and `loss_box`. In evaluation per image `boxes` float32 [M, 4] in
            its pixels, `scores` [M] in descending order, `labels` int64 [M] in 0..K-1.

        Raises:
            DataError: invalid images, targets or proposals; the message names the image. In training on a GPU,
                values are not read, which would wait: a task checks them before.
            VisionkitError: in evaluation, the output of the model is not finite.
        """
        if not self.training:
            batch, maps = self._features(images)
            return self._predictions(batch, maps, check_proposals(proposals, len(images)))
        if targets is None:
            raise VisionkitError("a detector in training mode needs targets; call eval() to predict")
        regions = check_proposals([target.get("proposals") for target in targets], len(images), self.training)
        _, maps = self._features(images)
        return self._losses(maps, regions, pad_targets(targets, self.num_classes))

    @property
    def nms_options(self) -> NMSOptions:
        """How overlapping predictions are filtered."""
        return self.roi_heads.nms

    def losses_and_predictions(
        self, images: list[Tensor], targets: list[Target]
    ) -> tuple[dict[str, Tensor], list[Prediction]]:
        """Return both results of `forward` from one pass of the backbone, in the present mode."""
        objects = pad_targets(targets, self.num_classes)
        regions = check_proposals([target.get("proposals") for target in targets], len(images), self.training)
        batch, maps = self._features(images)
        return self._losses(maps, regions, objects), self._predictions(batch, maps, regions)

    def _features(self, images: list[Tensor]) -> tuple[ImageBatch, dict[str, Tensor]]:
        """Return the padded batch, and the maps that `roi_heads` pools regions from."""
        raise NotImplementedError

    def _losses(self, maps: dict[str, Tensor], regions: list[Tensor], objects: PaddedObjects) -> dict[str, Tensor]:
        sample = self.roi_heads.sample(Proposals(*pad_rows(regions)), objects)
        logits, deltas = self.roi_heads(maps, sample.rois, sample.used.flatten())
        with full_precision(deltas):
            return self.roi_heads.losses(logits, deltas, sample)

    def _predictions(self, batch: ImageBatch, maps: dict[str, Tensor], regions: list[Tensor]) -> list[Prediction]:
        logits, deltas = self.roi_heads(maps, regions)
        check_finite(logits, deltas)
        with full_precision(deltas):
            return self.roi_heads.predictions(logits, deltas, regions, batch.sizes)
