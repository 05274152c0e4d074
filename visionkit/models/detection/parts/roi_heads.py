"""RoI heads: which proposals are trained on, and how scored proposals become detections (Girshick 2015).

The results equal those of `torchvision.models.detection.roi_heads`. Differences: public labels are 0..K-1 (background
is class 0 inside only), boxes are decoded for scores above the threshold only, crowd regions are not negatives, and
losses and detections are separate methods.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import clip_boxes_to_image

from visionkit.errors import ConfigError
from visionkit.models.detection.parts.batch import detections
from visionkit.models.detection.parts.rpn import SMOOTH_L1_BETA, check_sampling
from visionkit.ops.balanced_sampler import BalancedSampler
from visionkit.ops.box_coder import BoxCoder
from visionkit.ops.matching import BandMatcher, Objects, assign
from visionkit.ops.nms import Candidates, NMSOptions
from visionkit.structures import Prediction


@dataclass(frozen=True)
class RoIOptions:
    """Which proposals the RoI heads are trained on.

    Attributes:
        batch_size: proposals of each image in the loss.
        positive_fraction: largest share of positives among them (Girshick 2015, section 2.3: 0.25).
        fg_iou: IoU with an object from which a proposal is positive (the same: 0.5).
        bg_iou: IoU below which a proposal is negative (the same: 0.5); proposals between are ignored in the loss.
        min_bg_iou: IoU with an object that a negative has at least, in images with objects (the same: 0.1).

    Raises:
        ConfigError: a number is out of its range.
    """

    batch_size: int = 512
    positive_fraction: float = 0.25
    fg_iou: float = 0.5
    bg_iou: float = 0.5
    min_bg_iou: float = 0.0

    def __post_init__(self) -> None:
        check_sampling("roi", self.batch_size, self.positive_fraction, self.fg_iou, self.bg_iou)
        if not 0 <= self.min_bg_iou <= self.bg_iou:
            raise ConfigError(f"roi: 0 <= min_bg_iou {self.min_bg_iou} <= bg_iou {self.bg_iou} must hold")


class RoISample(NamedTuple):
    """Proposals of a batch that enter the loss.

    Attributes:
        regions: per image float32 [S, 4].
        classes: int64 [sum of S], 0 for background, 1..K for objects.
        references: float32 [P, 4], the matched object of each region whose class is above 0.
        matched: per image int64, the index of that object in the image.
    """

    regions: list[Tensor]
    classes: Tensor
    references: Tensor
    matched: list[Tensor]


class RoIHeads(nn.Module):
    """Base of RoI heads: samples proposals, computes losses, and turns scores into detections.

    Args:
        options: which proposals are trained on.
        nms: how overlapping detections are filtered.
        smooth_l1_beta: where the box loss changes from quadratic to linear.
    """

    def __init__(self, options: RoIOptions, nms: NMSOptions, smooth_l1_beta: float = SMOOTH_L1_BETA) -> None:
        super().__init__()
        self.options, self.nms, self.smooth_l1_beta = options, nms, smooth_l1_beta
        self.matcher = BandMatcher(options.fg_iou, options.bg_iou, options.min_bg_iou)
        self.sampler: Callable[[list[Tensor]], tuple[list[Tensor], list[Tensor]]] = BalancedSampler(
            options.batch_size, options.positive_fraction
        )
        self.box_coder = BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))  # normalization of the deltas by 0.1 and 0.2

    def forward(self, maps: dict[str, Tensor], regions: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return scores and box deltas of regions.

        Args:
            maps: feature maps [B, C, h, w] by level.
            regions: per image float32 [S, 4] in pixels; R of them together.

        Returns:
            Logits float32 [R, K + 1], background first, and box deltas [R, K + 1, 4].
        """
        raise NotImplementedError

    def sample(self, proposals: Sequence[Tensor], objects: Sequence[Objects]) -> RoISample:
        """Return the regions that enter the loss, drawn from the proposals and the objects themselves."""
        candidates = [torch.cat([found, one.boxes]) for found, one in zip(proposals, objects, strict=True)]
        assigned = [assign(boxes, one, self.matcher) for boxes, one in zip(candidates, objects, strict=True)]
        chosen = [
            torch.where(positive | negative)[0]
            for positive, negative in zip(*self.sampler([classes for classes, _ in assigned]), strict=True)
        ]
        matched = [
            indices[picked][classes[picked] > 0] for (classes, indices), picked in zip(assigned, chosen, strict=True)
        ]
        return RoISample(
            [boxes[picked] for boxes, picked in zip(candidates, chosen, strict=True)],
            torch.cat([classes[picked] for (classes, _), picked in zip(assigned, chosen, strict=True)]),
            torch.cat([one.boxes[indices] for one, indices in zip(objects, matched, strict=True)]),
            matched,
        )

    def losses(self, logits: Tensor, deltas: Tensor, sample: RoISample) -> dict[str, Tensor]:
        """Return the losses of a sample (Girshick 2015, equation 1).

        Returns:
            `loss_classifier` (cross-entropy, mean over the sample) and `loss_box` (smooth L1, summed over the
            objects' coordinates, divided by the sample's size).
        """
        return mean_losses(*self.losses_of_each(logits, deltas, sample))

    def losses_of_each(self, logits: Tensor, deltas: Tensor, sample: RoISample) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy [R] and the smooth L1 loss [R] (0 for background) of each region."""
        classifier = functional.cross_entropy(logits, sample.classes, reduction="none")
        positive = torch.where(sample.classes > 0)[0]
        coding = self.box_coder.encode(sample.references, torch.cat(sample.regions)[positive])
        predicted = deltas[positive, sample.classes[positive]]
        errors = functional.smooth_l1_loss(predicted, coding, beta=self.smooth_l1_beta, reduction="none").sum(dim=1)
        return classifier, torch.zeros_like(classifier).index_put((positive,), errors)

    def detect(
        self, logits: Tensor, deltas: Tensor, proposals: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
    ) -> list[Prediction]:
        """Return detections from scored proposals.

        Args:
            logits: [R, K + 1], output of `forward` for `proposals`.
            deltas: [R, K + 1, 4], the same.
            proposals: per image float32 [S, 4].
            sizes: (height, width) of each image in pixels.

        Returns:
            Per image boxes [M, 4], scores [M] falling, labels [M] in 0..K-1.
        """
        return self.detect_scored(functional.softmax(logits, dim=-1)[:, 1:], deltas[:, 1:], proposals, sizes)

    def detect_scored(
        self, scores: Tensor, deltas: Tensor, proposals: Sequence[Tensor], sizes: Sequence[tuple[int, int]]
    ) -> list[Prediction]:
        """Return the same as `detect` from scores [R, K] in 0..1 and box deltas [R, K, 4] of the classes."""
        counts = [len(regions) for regions in proposals]
        per_image = zip(scores.split(counts), deltas.split(counts), proposals, sizes, strict=True)
        return [self._detect_in_image(*image) for image in per_image]

    def _detect_in_image(self, scores: Tensor, deltas: Tensor, proposals: Tensor, size: tuple[int, int]) -> Prediction:
        regions, labels = torch.where(scores > self.nms.score_threshold)
        boxes = self.box_coder.decode(deltas[regions, labels], proposals[regions])
        found = Candidates(clip_boxes_to_image(boxes, size), scores[regions, labels], labels)
        return detections(found, self.nms)


def mean_losses(classifier: Tensor, box: Tensor) -> dict[str, Tensor]:
    """Return the losses of a sample from those of its regions [R]; 0 without regions."""
    size = max(len(classifier), 1)
    return {"loss_classifier": classifier.sum() / size, "loss_box": box.sum() / size}
