"""Non-maximum suppression (NMS): filters of overlapping detections.

Each kind of NMS is a function of an image's candidates and `NMSOptions`, registered by name. Recipes choose it with
`model.nms.kind`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import batched_nms, nms

from visionkit.ops.boxes import paired_iou
from visionkit.ops.float32 import check_finite
from visionkit.ops.waiting import from_host, waits
from visionkit.option_checks import check_above, check_at_least, check_below, check_within
from visionkit.registry import Registry

MAX_NMS_BOXES = 1 << 15
"""Boxes in one call of NMS on a GPU; it needs a bit for each pair of boxes, 128 MiB for so many."""


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
    """Candidates of an image that NMS keeps.

    Attributes:
        indices: int64 [M], indices of the candidates in descending order of score.
        scores: float32 [M], in descending order; soft kinds lower the scores of the candidates.
    """

    indices: Tensor
    scores: Tensor


@dataclass(frozen=True)
class NMSOptions:
    """Options of NMS; an instance is also the function that filters candidates.

    Attributes:
        kind: "per_class", "class_agnostic", "soft_linear" or "soft_gaussian".
        iou: a detection that overlaps a better one by more is dropped; soft_linear lowers its score instead.
            soft_gaussian does not use it.
        max_detections: maximum number of detections per image.
        score_threshold: detections with at most this score, in 0..1, are dropped, also after a soft kind has lowered
            it. This threshold is for evaluation, not for display.
        sigma: soft_gaussian multiplies scores by exp(-IoU^2 / sigma) (Bodla et al. 2017, section 3: 0.5).

    Raises:
        ConfigError: there is no such kind, or a number is out of its range.

    Example:
        >>> import torch
        >>> from visionkit.ops.nms import Candidates, NMSOptions
        >>> boxes = torch.tensor([[0.0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30]])
        >>> candidates = Candidates(boxes, torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0, 0, 1]))
        >>> NMSOptions(iou=0.5)(candidates).indices.tolist()
        [0, 2]
    """

    kind: str = "per_class"
    iou: float = 0.5
    max_detections: int = 100
    score_threshold: float = 0.0
    sigma: float = 0.5

    def __post_init__(self) -> None:
        nms_kinds.get(self.kind)
        check_within(0, 1, iou=self.iou)
        check_at_least(1, max_detections=self.max_detections)
        check_below(0, 1, score_threshold=self.score_threshold)
        check_above(0, sigma=self.sigma)

    def __call__(self, candidates: Candidates) -> Kept:
        """Return the candidates that NMS keeps.

        Raises:
            VisionkitError: a box or score is not finite.
        """
        check_finite(candidates.boxes, candidates.scores)
        return nms_kinds.get(self.kind)(candidates, self)


nms_kinds: Registry[Callable[[Candidates, NMSOptions], Kept]] = Registry("NMS kind")


@nms_kinds.register("per_class")
def per_class(candidates: Candidates, options: NMSOptions) -> Kept:
    """Drop each box that overlaps a better one of its class by more than the IoU."""
    indices = batched_nms(candidates.boxes, candidates.scores, candidates.labels, options.iou)[: options.max_detections]
    return Kept(indices, candidates.scores[indices])


@nms_kinds.register("class_agnostic")
def class_agnostic(candidates: Candidates, options: NMSOptions) -> Kept:
    """Drop each box that overlaps a better one of any class by more than the IoU."""
    indices = nms(candidates.boxes, candidates.scores, options.iou)[: options.max_detections]
    return Kept(indices, candidates.scores[indices])


@nms_kinds.register("soft_linear")
def soft_linear(candidates: Candidates, options: NMSOptions) -> Kept:
    """Multiply scores by 1 - IoU where a better box of the class overlaps by at least the IoU (Bodla, section 3)."""
    return _soft_nms(candidates, options, lambda iou: torch.where(iou >= options.iou, 1 - iou, 1.0))


@nms_kinds.register("soft_gaussian")
def soft_gaussian(candidates: Candidates, options: NMSOptions) -> Kept:
    """Multiply scores by exp(-IoU^2 / sigma) for each better box of the class (Bodla, equation 4)."""
    return _soft_nms(candidates, options, lambda iou: torch.exp(-iou.square() / options.sigma))


def keep_in_groups(boxes: Tensor, scores: Tensor, groups: Sequence[int], iou: float, side: int) -> Tensor:
    """Apply NMS to each group of boxes of each image, without gradient.

    Args:
        boxes: float [B, N, 4], xyxy in 0..side.
        scores: float [B, N].
        groups: number of boxes of each group, one after the other; their sum is N.
        iou: a box that overlaps a better one of its group by more is dropped.
        side: largest side of an image in pixels.

    Returns:
        bool [B, N], which boxes are kept.
    """
    if waits(boxes):
        sizes = from_host(groups, boxes, torch.int64)
        numbers = torch.arange(len(groups), device=boxes.device).repeat_interleave(sizes, output_size=sum(groups))
        return keep_by_offsets(boxes, scores, numbers, iou, side + 1)
    kept = torch.zeros_like(scores, dtype=torch.bool)
    for own_kept, own_boxes, own_scores in zip(kept, boxes, scores, strict=True):
        in_groups = zip(own_kept.split(groups), own_boxes.split(groups), own_scores.split(groups), strict=True)
        for mask, group, group_scores in in_groups:
            mask.index_fill_(0, nms(group, group_scores, iou), True)
    return kept


def keep_by_offsets(boxes: Tensor, scores: Tensor, groups: Tensor, iou: float, step: int) -> Tensor:
    """Return the same as `keep_in_groups` from few calls of NMS, each of which waits for a GPU.

    Each group of each image is moved to a place of its own.

    Args:
        boxes: [B, N, 4].
        scores: [B, N].
        groups: int64 [N], number of each box's group.
        iou: see `keep_in_groups`.
        step: distance of the places in pixels.
    """
    images = max(MAX_NMS_BOXES // boxes.shape[1], 1)
    kept = []
    for part, part_scores in zip(boxes.split(images), scores.split(images), strict=True):
        first = torch.arange(len(part), device=part.device)[:, None] * (groups[-1] + 1)
        moved = part + ((first + groups) * step)[..., None]
        indices = nms(moved.flatten(0, 1), part_scores.flatten(), iou)
        kept.append(torch.zeros(moved.shape[:2].numel(), dtype=torch.bool, device=boxes.device))
        kept[-1].index_fill_(0, indices, True)
    return torch.cat(kept).view(scores.shape)


def _soft_nms(candidates: Candidates, options: NMSOptions, factor: Callable[[Tensor], Tensor]) -> Kept:
    """Filter all classes at once (Bodla et al. 2017, figure 2).

    Scores only fall. So taking the best box of all classes in each step visits the boxes of each class in the paper's
    order, and `max_detections` steps are enough.

    Args:
        candidates: detections of the image.
        options: number of detections and score threshold.
        factor: from the IoU [N] with a better box to the factor of the score.
    """
    boxes, scores, labels = candidates
    remaining = scores.masked_fill(scores <= options.score_threshold, -torch.inf)
    selected: list[tuple[Tensor, Tensor]] = []
    for _ in range(min(options.max_detections, len(scores))):
        score, best = remaining.max(dim=0)
        selected.append((score, best))
        lowered = (labels == labels[best]) & (remaining > -torch.inf)  # -inf times a factor of 0 would be NaN
        remaining = torch.where(lowered, remaining * factor(paired_iou(boxes[best], boxes)), remaining)
        remaining = remaining.masked_fill(remaining <= options.score_threshold, -torch.inf)
        remaining = remaining.index_fill(0, best, -torch.inf)
    if not selected:
        return Kept(labels[:0], scores[:0])
    kept_scores, indices = (torch.stack(column) for column in zip(*selected, strict=True))
    above_threshold = kept_scores > -torch.inf
    return Kept(indices[above_threshold], kept_scores[above_threshold])
