"""Which of the overlapping detections of an image stay: non-maximum suppression (NMS) in its kinds.

A kind is a function of the image's candidates and a `NMSOptions`, registered by name; recipes choose one by
`NMS: <name>` in a detector's section.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import batched_nms, nms

from visionkit.errors import ConfigError
from visionkit.ops.boxes import paired_iou
from visionkit.ops.precision import check_finite
from visionkit.registry import Registry


class Candidates(NamedTuple):
    """Detections of one image before NMS.

    Attributes:
        boxes: float32 [N, 4], xyxy.
        scores: float32 [N].
        labels: int64 [N].
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor


class Kept(NamedTuple):
    """What NMS leaves of an image's candidates.

    Attributes:
        indices: int64 [M] into the candidates, best first.
        scores: float32 [M], falling; those of soft kinds are lower than the candidates'.
    """

    indices: Tensor
    scores: Tensor


@dataclass(frozen=True)
class NMSOptions:
    """NMS of one kind, ready to be called.

    Attributes:
        kind: registered name.
        iou: overlap from which on a lower scored box suffers; `soft_gaussian` has no such bound.
        max_detections: maximum number of boxes of an image that are kept.
        score_threshold: a box stays that scores more; matters to soft kinds, which lower scores.
        sigma: how gently `soft_gaussian` decays (Bodla et al. 2017, section 3: .5).

    Raises:
        ConfigError: no such kind, or numbers out of their range.
    """

    kind: str = "per_class"
    iou: float = 0.5
    max_detections: int = 100
    score_threshold: float = 0.0
    sigma: float = 0.5

    def __post_init__(self) -> None:
        nms_kinds.get(self.kind)
        if not (0 <= self.iou <= 1 and self.max_detections >= 1 and self.sigma > 0 and 0 <= self.score_threshold < 1):
            raise ConfigError(
                f"nms: 0 <= IoU {self.iou} <= 1, 0 <= score threshold {self.score_threshold} < 1, at least 1 "
                f"detection (not {self.max_detections}), and sigma {self.sigma} > 0 must hold"
            )

    def __call__(self, candidates: Candidates) -> Kept:
        """Suppress.

        Raises:
            VisionkitError: a box or score is not finite.
        """
        check_finite(candidates.boxes, candidates.scores)
        return nms_kinds.get(self.kind)(candidates, self)


nms_kinds: Registry[Callable[[Candidates, NMSOptions], Kept]] = Registry("NMS kind")


@nms_kinds.register("per_class")
def per_class(candidates: Candidates, options: NMSOptions) -> Kept:
    """A box falls that overlaps a better one of its class by more than the IoU."""
    indices = batched_nms(candidates.boxes, candidates.scores, candidates.labels, options.iou)[: options.max_detections]
    return Kept(indices, candidates.scores[indices])


@nms_kinds.register("class_agnostic")
def class_agnostic(candidates: Candidates, options: NMSOptions) -> Kept:
    """A box falls that overlaps a better one of any class by more than the IoU."""
    indices = nms(candidates.boxes, candidates.scores, options.iou)[: options.max_detections]
    return Kept(indices, candidates.scores[indices])


@nms_kinds.register("soft_linear")
def soft_linear(candidates: Candidates, options: NMSOptions) -> Kept:
    """Overlap of at least the IoU with a better box of the class costs its share of the score (Bodla, section 3)."""
    return _soften(candidates, options, lambda iou: torch.where(iou >= options.iou, 1 - iou, 1.0))


@nms_kinds.register("soft_gaussian")
def soft_gaussian(candidates: Candidates, options: NMSOptions) -> Kept:
    """Any overlap with a better box of the class costs score: exp(-IoU^2 / sigma) stays (Bodla, equation 4)."""
    return _soften(candidates, options, lambda iou: torch.exp(-iou.square() / options.sigma))


def _soften(candidates: Candidates, options: NMSOptions, share: Callable[[Tensor], Tensor]) -> Kept:
    """Bodla et al. 2017, figure 2, for all classes at once.

    Scores only fall, so taking the best of all classes each time meets the boxes of each class in the paper's order,
    and after as many steps as boxes may stay the rest is of no interest.

    Args:
        candidates: of the image.
        options: how many stay, and from which score.
        share: from the IoU [N] with a better box to the share of the score that stays.
    """
    boxes, scores, labels = candidates
    left = scores.masked_fill(scores <= options.score_threshold, -torch.inf)
    taken: list[tuple[Tensor, Tensor]] = []
    for _ in range(min(options.max_detections, len(scores))):
        score, best = left.max(dim=0)
        taken.append((score, best))
        suffers = (labels == labels[best]) & (left > -torch.inf)  # a share of 0 would make nan of what is out already
        left = torch.where(suffers, left * share(paired_iou(boxes[best], boxes)), left)
        left = left.masked_fill(left <= options.score_threshold, -torch.inf).index_fill(0, best, -torch.inf)
    if not taken:
        return Kept(labels[:0], scores[:0])
    kept_scores, indices = (torch.stack(column) for column in zip(*taken, strict=True))
    real = kept_scores > -torch.inf
    return Kept(indices[real], kept_scores[real])
