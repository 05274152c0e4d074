"""Matching of anchors and proposals to objects by IoU. Background inside crowd regions is ignored in the loss."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from visionkit.errors import ConfigError
from visionkit.ops.boxes import pairwise_iou, share_inside
from visionkit.structures import Rle

BACKGROUND = -1
"""Match of a box that is background."""

IGNORED = -2
"""Match of a box that is ignored in the loss."""

CROWD_SHARE = 0.5
"""Minimum share of a box's area inside a crowd region to ignore the box: COCO's IoU with crowds, at threshold 0.5."""

MAX_PAIRS = 1 << 24
"""Pairs of object and box whose IoU is computed at once; it takes several times the memory of its result."""


class Objects(NamedTuple):
    """Ground truth of one image.

    Attributes:
        boxes: float32 [M, 4], xyxy, without crowds.
        labels: int64 [M], 0..K-1.
        crowds: float32 [C, 4], regions of uncounted objects.
    """

    boxes: Tensor
    labels: Tensor
    crowds: Tensor


class PaddedObjects(NamedTuple):
    """Ground truth of a batch, padded to the number M of rows of its largest target, at least 1.

    Attributes:
        boxes: float32 [B, M, 4], xyxy.
        labels: int64 [B, M], 0..K-1.
        valid: bool [B, M], whether the row is an object; otherwise it is a crowd region or padding.
        crowds: float32 [B, M, 4], regions of uncounted objects, and 0 in other rows; None without any.
        counts: number of rows of each image without padding, with crowd regions.
        masks: per image the RLE (COCO) of each row, in pixels of the stored image; None without masks.
        frames: per image float32 [4], xyxy, the part of the model's input that the stored image covers; None for all
            of it.
    """

    boxes: Tensor
    labels: Tensor
    valid: Tensor
    crowds: Tensor | None
    counts: list[int]
    masks: list[list[Rle] | None]
    frames: list[Tensor | None]

    def rows(self, images: slice) -> int:
        """Return the number of rows without those that are padding in all of some images, at least 1."""
        return max(1, *self.counts[images])

    def image(self, index: int) -> Objects:
        """Return the ground truth of an image; waits for the device."""
        valid, boxes = self.valid[index], self.boxes[index]
        crowds = boxes[:0] if self.crowds is None else self.crowds[index]
        return Objects(boxes[valid], self.labels[index][valid], crowds[crowds.any(dim=1)])


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
            iou: float [..., M, N] of M objects and N boxes, M > 0; -1 for padding, which matches nothing.

        Returns:
            int64 [..., N], the object's index, `BACKGROUND` or `IGNORED`.
        """
        best_iou, best_object = iou.max(dim=-2)
        return self._by_thresholds(best_iou, best_object)

    def _by_thresholds(self, best_iou: Tensor, best_object: Tensor) -> Tensor:
        """Return the match [..., N] of boxes from their highest IoU and the object that they have it with."""
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
        best_iou, best_object = iou.max(dim=-2)
        best_of_object = iou.amax(dim=-1, keepdim=True)
        is_best = (iou == best_of_object.masked_fill(best_of_object <= 0, torch.inf)).any(dim=-2)
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
        best_iou, best_box = iou.max(dim=-1)
        unused = iou.shape[-1]  # a column behind the boxes, which padding matches
        objects = torch.arange(iou.shape[-2], device=iou.device).expand_as(best_box)
        matches = functional.pad(super().__call__(iou), (0, 1))
        best_box = best_box.masked_fill(best_iou < 0, unused)
        return matches.scatter_reduce(-1, best_box, objects, "amax", include_self=False)[..., :unused]


class HardBackgroundMatcher(Matcher):
    """`Matcher` with hard background, which overlaps an object slightly (Girshick 2015, section 2.3).

    Args:
        fg_iou: see `Matcher`.
        bg_iou: see `Matcher`.
        min_bg_iou: a box with less than this IoU is ignored, if there is an object.
    """

    def __init__(self, fg_iou: float, bg_iou: float, min_bg_iou: float) -> None:
        super().__init__(fg_iou, bg_iou)
        self.min_bg_iou = min_bg_iou

    def __call__(self, iou: Tensor) -> Tensor:
        """Return the match of each box; see `Matcher.__call__`."""
        best_iou = iou.amax(dim=-2)  # below 0 without an object
        return super().__call__(iou).masked_fill((best_iou >= 0) & (best_iou < self.min_bg_iou), IGNORED)


def assign(
    boxes: Tensor, objects: PaddedObjects, matcher: Matcher, allowed: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Assign a class and an object to each box of each image.

    Args:
        boxes: anchors [A, 4], the same for each image, or proposals [B, A, 4]; A > 0.
        objects: ground truth of the images.
        matcher: decides by IoU.
        allowed: bool [B, A], which boxes take part; None for all.

    Returns:
        classes: int64 [B, A], 1 + the object's label, 0 for background, -1 for boxes that are ignored in the loss.
            These are the matcher's ignored ones, those not allowed, and background mostly inside a crowd region.
        matched: int64 [B, A], index of the object; 0 where the box matches none.
    """
    of_images = boxes.expand(len(objects.boxes), -1, -1)
    parts = _parts(of_images, objects.boxes)
    matches = torch.cat([matcher(_masked_iou(objects, of_images, allowed, part)) for part in parts])
    matched = matches.clamp(min=0)
    classes = torch.where(matches >= 0, objects.labels.gather(1, matched) + 1, 0).masked_fill(matches == IGNORED, -1)
    if allowed is not None:
        classes = classes.masked_fill(~allowed, -1)
    return ignore_crowds(classes, boxes, objects), matched


def overlaps_object(boxes: Tensor, objects: PaddedObjects, iou: float) -> Tensor:
    """Return which boxes [B, A, 4] overlap any object of their image by more than `iou`; bool [B, A]."""
    parts = _parts(boxes, objects.boxes)
    return torch.cat([(_masked_iou(objects, boxes, None, part) > iou).any(dim=1) for part in parts])


def ignore_crowds(classes: Tensor, boxes: Tensor, objects: PaddedObjects) -> Tensor:
    """Return `classes` [B, A] with -1 for background whose box is mostly inside a crowd region of its image.

    Args:
        classes: int64 [B, A].
        boxes: [A, 4] or [B, A, 4].
        objects: ground truth of the images.
    """
    if objects.crowds is None:
        return classes
    of_images = boxes.expand(len(objects.crowds), -1, -1)
    parts = _parts(of_images, objects.crowds)
    inside = torch.cat([in_crowd(of_images[part], objects.crowds[part, : objects.rows(part)]) for part in parts])
    return classes.masked_fill(inside & (classes == 0), -1)


def in_crowd(boxes: Tensor, crowds: Tensor) -> Tensor:
    """Return for each box [..., N, 4] whether it is mostly inside one of the `crowds` [..., C, 4]; bool [..., N]."""
    return (share_inside(boxes, crowds) >= CROWD_SHARE).any(dim=-1)


def _parts(boxes: Tensor, objects: Tensor) -> list[slice]:
    """Return the parts of a batch whose pairs of boxes [B, A, 4] and objects [B, M, 4] fit the memory."""
    count = max(MAX_PAIRS // (boxes.shape[1] * objects.shape[1]), 1)
    return [slice(start, start + count) for start in range(0, len(boxes), count)]


def _masked_iou(objects: PaddedObjects, boxes: Tensor, allowed: Tensor | None, images: slice) -> Tensor:
    """Return the IoU [b, M, A] in some of the images; -1 for padding and for boxes that are not allowed."""
    own, rows = boxes[images], objects.rows(images)
    of_objects = objects.boxes[images, :rows].split(max(MAX_PAIRS // own[..., 0].numel(), 1), 1)
    parts = [pairwise_iou(part, own) for part in of_objects]
    iou = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
    iou.masked_fill_(~objects.valid[images, :rows, None], -1.0)
    return iou if allowed is None else iou.masked_fill_(~allowed[images, None], -1.0)
