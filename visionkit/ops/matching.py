"""Which box learns which object: matching by IoU, with crowd regions left out of the background."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou

from visionkit.ops.boxes import share_inside

CROWD_SHARE = 0.5
"""A box with at least this share of its area in a crowd region is no background (COCO's IoU rule for crowds at .5)."""

OVERLAPS_AT_ONCE = 1 << 24
"""Pairs of object and box whose IoU is computed together: on its way it takes nine times the memory of the result."""


class Objects(NamedTuple):
    """The objects of one image.

    Attributes:
        boxes: float32 [M, 4], xyxy, without crowds.
        labels: int64 [M], 0..K-1.
        crowds: float32 [C, 4], regions of uncounted objects.
        masks: COCO run-length code of each of the M objects, in the pixels of the stored image; None where not known.
        frame: float32 [4], the part of the network's input that the stored image covers, xyxy; None for all of it.
    """

    boxes: Tensor
    labels: Tensor
    crowds: Tensor
    masks: list[Any] | None = None
    frame: Tensor | None = None


class BestMatcher(Matcher):
    """Ren et al. 2015, section 3.1.2: besides the boxes above the threshold, each object keeps its best box(es).

    The same result as torchvision's, without waiting for the GPU; but an object that no box touches matches none
    (all boxes tie as its "best" otherwise).
    """

    def __init__(self, foreground_iou: float, background_iou: float) -> None:
        super().__init__(foreground_iou, background_iou, allow_low_quality_matches=True)

    def set_low_quality_matches_(self, matches: Tensor, all_matches: Tensor, match_quality_matrix: Tensor) -> None:
        """Give each object's best boxes back to it, in place; arguments as of torchvision's Matcher."""
        best = match_quality_matrix.amax(dim=1, keepdim=True)
        is_best = ((match_quality_matrix == best) & (best > 0)).any(dim=0)
        matches.copy_(torch.where(is_best, all_matches, matches))


class BandMatcher(Matcher):
    """Girshick 2015, section 2.3: background overlaps an object at least a little, so that it is hard to tell.

    Args:
        foreground_iou: IoU from which a box is an object.
        background_iou: IoU below which it is background ...
        background_from: ... if it reaches this; a box that overlaps less teaches nothing.
    """

    def __init__(self, foreground_iou: float, background_iou: float, background_from: float) -> None:
        super().__init__(foreground_iou, background_iou)
        self.background_from = background_from

    def __call__(self, match_quality_matrix: Tensor) -> Tensor:
        """From IoU [objects, boxes] to matches [boxes]; see torchvision's Matcher."""
        matches = super().__call__(match_quality_matrix)
        far = match_quality_matrix.amax(dim=0) < self.background_from
        return matches.masked_fill(far, Matcher.BETWEEN_THRESHOLDS)


def assign(boxes: Tensor, objects: Objects, matcher: Matcher) -> tuple[Tensor, Tensor]:
    """Decide what each box of an image should learn.

    Args:
        boxes: [N, 4], anchors or proposals.
        objects: of the image; may be none.
        matcher: from IoU to matches.

    Returns:
        classes: int64 [N], 1 + the object's label, 0 for background, -1 for boxes that teach nothing: between
            the thresholds, or mostly in a crowd region without matching an object.
        matched: int64 [N], index of the object where there is one, else 0.
    """
    if len(objects.boxes) and len(boxes):
        found = matcher(_overlaps(objects.boxes, boxes))
        matched = found.clamp(min=0)
        classes = torch.where(found >= 0, objects.labels[matched] + 1, 0)
        classes = classes.masked_fill(found == Matcher.BETWEEN_THRESHOLDS, -1)
    else:
        matched = torch.zeros(len(boxes), dtype=torch.int64, device=boxes.device)
        classes = matched
    if len(objects.crowds):
        in_crowd = (share_inside(boxes, objects.crowds) >= CROWD_SHARE).any(dim=1)
        classes = classes.masked_fill(in_crowd & (classes == 0), -1)
    return classes, matched


def _overlaps(objects: Tensor, boxes: Tensor) -> Tensor:
    """IoU [M, N] of objects [M, 4] and boxes [N, 4]; of thousands of objects a part at a time."""
    parts = [box_iou(part, boxes) for part in objects.split(max(OVERLAPS_AT_ONCE // len(boxes), 1))]
    return parts[0] if len(parts) == 1 else torch.cat(parts)
