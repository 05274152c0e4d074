"""Which regions teach what, and which detections judged regions become (Girshick 2015; Ren et al. 2015).

The numbers are those of `torchvision.models.detection.roi_heads`. What differs: labels 0..K-1 outside (background is
class 0 inside only), boxes are decoded for scores above the threshold only, crowd regions are no background, and
losses and detections are methods of their own.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.detection._utils import BalancedPositiveNegativeSampler, BoxCoder
from torchvision.ops import clip_boxes_to_image

from visionkit.models.detection.parts.batch import detections
from visionkit.models.detection.parts.rpn import SMOOTH_L1_BETA
from visionkit.ops.matching import BandMatcher, Objects, assign
from visionkit.ops.nms import Candidates, NMSOptions
from visionkit.structures import Prediction


class Sample(NamedTuple):
    """Regions drawn from the proposals of a batch for the loss.

    Attributes:
        regions: per image float32 [S, 4].
        classes: int64 [sum of S], 0 for background, 1..K for objects.
        references: float32 [P, 4], the object of each region whose class is above 0.
        matched: per image int64, the index of that object among the image's.
    """

    regions: list[Tensor]
    classes: Tensor
    references: Tensor
    matched: list[Tensor]


class RoIHeads(nn.Module):
    """Learns from a sample of regions and turns judgements into detections; a subclass judges.

    Args:
        foreground_iou: IoU from which a proposal is an object.
        background_iou: IoU below which it is background; between the two it teaches nothing.
        batch_size: proposals of each image that enter the loss.
        positive_fraction: greatest share of objects among them.
        suppress: which of the detections stay, how many of them at most, and from which score.
        background_from: IoU that background has at least with an object, where the image has one.
        smooth_l1_beta: where the boxes' loss turns from square to linear.
    """

    def __init__(
        self,
        foreground_iou: float,
        background_iou: float,
        batch_size: int,
        positive_fraction: float,
        nms: NMSOptions,
        background_from: float = 0.0,
        smooth_l1_beta: float = SMOOTH_L1_BETA,
    ) -> None:
        super().__init__()
        self.matcher = BandMatcher(foreground_iou, background_iou, background_from)
        self.smooth_l1_beta = smooth_l1_beta
        self.sampler = BalancedPositiveNegativeSampler(batch_size, positive_fraction)
        self.box_coder = BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))  # Girshick's normalization by .1 and .2
        self.nms = nms

    def forward(self, maps: dict[str, Tensor], regions: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Judge regions.

        Args:
            maps: feature maps [B, C, h, w] by level.
            regions: per image float32 [S, 4] in pixels; R of them together.

        Returns:
            float32 logits [R, K + 1], background first, and box coding [R, K + 1, 4].
        """
        raise NotImplementedError

    def sample(self, proposals: Sequence[Tensor], objects: Sequence[Objects]) -> Sample:
        """Draw the regions that enter the loss, from the proposals and the objects themselves."""
        candidates = [torch.cat([found, one.boxes]) for found, one in zip(proposals, objects, strict=True)]
        assigned = [assign(boxes, one, self.matcher) for boxes, one in zip(candidates, objects, strict=True)]
        chosen = [
            torch.where(positive | negative)[0]
            for positive, negative in zip(*self.sampler([classes for classes, _ in assigned]), strict=True)
        ]
        matched = [
            indices[picked][classes[picked] > 0] for (classes, indices), picked in zip(assigned, chosen, strict=True)
        ]
        return Sample(
            [boxes[picked] for boxes, picked in zip(candidates, chosen, strict=True)],
            torch.cat([classes[picked] for (classes, _), picked in zip(assigned, chosen, strict=True)]),
            torch.cat([one.boxes[indices] for one, indices in zip(objects, matched, strict=True)]),
            matched,
        )

    def losses(self, logits: Tensor, deltas: Tensor, sample: Sample) -> dict[str, Tensor]:
        """Compare judgements of a sample with its objects (Girshick 2015, equation 1).

        Returns:
            `loss_classifier` (cross-entropy, mean over the sample) and `loss_box` (smooth L1, summed over the
            objects' coordinates, divided by the sample's size).
        """
        return mean_losses(*self.losses_of_each(logits, deltas, sample))

    def losses_of_each(self, logits: Tensor, deltas: Tensor, sample: Sample) -> tuple[Tensor, Tensor]:
        """Cross-entropy [R] and smooth L1 summed over coordinates [R], 0 for background, of each region."""
        classifier = functional.cross_entropy(logits, sample.classes, reduction="none")
        positive = torch.where(sample.classes > 0)[0]
        coding = self.box_coder.encode_single(sample.references, torch.cat(sample.regions)[positive])
        said = deltas[positive, sample.classes[positive]]
        wrong = functional.smooth_l1_loss(said, coding, beta=self.smooth_l1_beta, reduction="none").sum(dim=1)
        return classifier, torch.zeros_like(classifier).index_put((positive,), wrong)

    def detect(
        self, logits: Tensor, deltas: Tensor, proposals: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
    ) -> list[Prediction]:
        """Turn judgements of proposals into detections.

        Args:
            logits: [R, K + 1], what `forward` returned for `proposals`.
            deltas: [R, K + 1, 4], likewise.
            proposals: per image float32 [S, 4].
            sizes: (height, width) of each image in pixels.

        Returns:
            Per image boxes [M, 4], scores [M] falling, labels [M] in 0..K-1.
        """
        return self.detect_scored(functional.softmax(logits, dim=-1)[:, 1:], deltas[:, 1:], proposals, sizes)

    def detect_scored(
        self, scores: Tensor, deltas: Tensor, proposals: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
    ) -> list[Prediction]:
        """As `detect`, from scores [R, K] in 0..1 and box coding [R, K, 4] of the classes alone."""
        counts = [len(regions) for regions in proposals]
        per_image = zip(scores.split(counts), deltas.split(counts), proposals, sizes, strict=True)
        return [self._detect_in_one(*image) for image in per_image]

    def _detect_in_one(self, scores: Tensor, deltas: Tensor, proposals: Tensor, size: tuple[int, int]) -> Prediction:
        regions, labels = torch.where(scores > self.nms.score_threshold)
        boxes = self.box_coder.decode_single(deltas[regions, labels], proposals[regions])
        found = Candidates(clip_boxes_to_image(boxes, size), scores[regions, labels], labels)
        return detections(found, self.nms)


def mean_losses(classifier: Tensor, box: Tensor) -> dict[str, Tensor]:
    """The losses of a sample from those of its regions, [R] each; 0 where there is no region."""
    size = max(len(classifier), 1)
    return {"loss_classifier": classifier.sum() / size, "loss_box": box.sum() / size}
