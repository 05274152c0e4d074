"""Matching of anchors and proposals to objects by IoU. Background inside crowd regions is ignored in the loss."""

from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.ops import box_iou

from visionkit.errors import ConfigError
from visionkit.ops.boxes import share_inside
from visionkit.structures import Rle

BACKGROUND = -1
"""Match of a box that is background."""

IGNORED = -2
"""Match of a box that is ignored in the loss."""

CROWD_SHARE = 0.5
"""Minimum share of a box's area inside a crowd region to ignore the box: COCO's IoU with crowds, at threshold 0.5."""

MAX_PAIRS = 1 << 24
"""Pairs of object and box whose IoU is computed at once; the computation takes nine times the memory of its result."""


class Objects(NamedTuple):
    """Ground truth of one image.

    Attributes:
        boxes: float32 [M, 4], xyxy, without crowds.
        labels: int64 [M], 0..K-1.
        crowds: float32 [C, 4], regions of uncounted objects.
        masks: RLE (COCO) of each of the M objects, in pixels of the stored image; None without masks.
        frame: float32 [4], xyxy, the part of the model's input that the stored image covers; None for all of it.
    """

    boxes: Tensor
    labels: Tensor
    crowds: Tensor
    masks: list[Rle] | None = None
    frame: Tensor | None = None


class Matcher:
    """Match each box to the object that it overlaps most, if their IoU is high enough.

    Returns the same as torchvision's `Matcher`, without waiting for the GPU.

    Args:
        fg_iou: a box with at least this IoU matches the object.
        bg_iou: a box with less than this IoU is background. A box between the two is ignored.

    Raises:
        ConfigError: 0 <= bg_iou <= fg_iou <= 1 does not hold.
    """

    def __init__(self, fg_iou: float, bg_iou: float) -> None:
        if not 0 <= bg_iou <= fg_iou <= 1:
            raise ConfigError(f"bg_iou={bg_iou}, fg_iou={fg_iou} must satisfy 0 <= bg_iou <= fg_iou <= 1")
        self.fg_iou, self.bg_iou = fg_iou, bg_iou

    def __call__(self, iou: Tensor) -> Tensor:
        """Return the match of each box.

        Args:
            iou: float [M, N] of M objects and N boxes; M > 0.

        Returns:
            int64 [N], the object's index, `BACKGROUND` or `IGNORED`.
        """
        best_iou, best_object = iou.max(dim=0)
        return self._by_thresholds(best_iou, best_object)

    def _by_thresholds(self, best_iou: Tensor, best_object: Tensor) -> Tensor:
        """Return the match [N] of each box from its highest IoU [N] and the object [N] that it has it with."""
        matches = best_object.masked_fill(best_iou < self.fg_iou, IGNORED)
        return matches.masked_fill(best_iou < self.bg_iou, BACKGROUND)


class LowQualityMatcher(Matcher):
    """`Matcher` that also matches the best box of each object at any IoU above 0 (Ren et al. 2015, section 3.1.2).

    A box that is the best of any object matches the object that it overlaps most. Several boxes can tie as best.
    torchvision's `Matcher` with `allow_low_quality_matches` returns the same, except for an object that no box
    touches: all boxes tie as its best there, and none matches it here.
    """

    def __call__(self, iou: Tensor) -> Tensor:
        """Return the match of each box; see `Matcher.__call__`."""
        best_iou, best_object = iou.max(dim=0)
        best_of_object = iou.amax(dim=1, keepdim=True)
        is_best = ((iou == best_of_object) & (best_of_object > 0)).any(dim=0)
        return torch.where(is_best, best_object, self._by_thresholds(best_iou, best_object))


class SSDMatcher(Matcher):
    """`Matcher` that also matches each object to its single best box (Liu et al. 2015, section 2.2).

    Unlike with `LowQualityMatcher`, the box matches that object even if it overlaps another one more. A box that is
    the best of several objects matches the one listed last, as with torchvision's `SSDMatcher`.

    Args:
        fg_iou: a box with less than this IoU is background. No box is ignored.
    """

    def __init__(self, fg_iou: float) -> None:
        super().__init__(fg_iou, fg_iou)

    def __call__(self, iou: Tensor) -> Tensor:
        """Return the match of each box; see `Matcher.__call__`."""
        best_box, objects = iou.max(dim=1).indices, torch.arange(len(iou), device=iou.device)
        return super().__call__(iou).scatter_reduce(0, best_box, objects, "amax", include_self=False)


class HardBackgroundMatcher(Matcher):
    """`Matcher` with hard background, which overlaps an object slightly (Girshick 2015, section 2.3).

    Args:
        fg_iou: see `Matcher`.
        bg_iou: see `Matcher`.
        min_bg_iou: a box with less than this IoU is ignored.
    """

    def __init__(self, fg_iou: float, bg_iou: float, min_bg_iou: float) -> None:
        super().__init__(fg_iou, bg_iou)
        self.min_bg_iou = min_bg_iou

    def __call__(self, iou: Tensor) -> Tensor:
        """Return the match of each box; see `Matcher.__call__`."""
        return super().__call__(iou).masked_fill(iou.amax(dim=0) < self.min_bg_iou, IGNORED)


def assign(boxes: Tensor, objects: Objects, matcher: Matcher) -> tuple[Tensor, Tensor]:
    """Assign a class and an object to each box of an image.

    Args:
        boxes: [N, 4], anchors or proposals.
        objects: ground truth of the image; may be empty.
        matcher: decides by IoU.

    Returns:
        classes: int64 [N], 1 + the object's label, 0 for background, -1 for boxes that are ignored in the loss. These
            are the matcher's ignored ones, and background mostly inside a crowd region.
        matched: int64 [N], index of the object; 0 where the box matches none.
    """
    if len(objects.boxes) and len(boxes):
        matches = matcher(_pairwise_iou(objects.boxes, boxes))
        matched = matches.clamp(min=0)
        classes = torch.where(matches >= 0, objects.labels[matched] + 1, 0)
        classes = classes.masked_fill(matches == IGNORED, -1)
    else:
        matched = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
        classes = matched
    return ignore_crowds(classes, boxes, objects.crowds), matched


def ignore_crowds(classes: Tensor, boxes: Tensor, crowds: Tensor) -> Tensor:
    """Return `classes` [N] with -1 for background whose box [N, 4] is mostly inside one of the `crowds` [C, 4]."""
    if not len(crowds):
        return classes
    return classes.masked_fill(in_crowd(boxes, crowds) & (classes == 0), -1)


def in_crowd(boxes: Tensor, crowds: Tensor) -> Tensor:
    """Return for each box [N, 4] whether it is mostly inside one of the `crowds` [C, 4]; bool [N]."""
    return (share_inside(boxes, crowds) >= CROWD_SHARE).any(dim=1)


def _pairwise_iou(objects: Tensor, boxes: Tensor) -> Tensor:
    """Return the IoU [M, N] of objects [M, 4] and boxes [N, 4], computed in parts that fit the memory."""
    parts = [box_iou(part, boxes) for part in objects.split(max(MAX_PAIRS // len(boxes), 1))]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
