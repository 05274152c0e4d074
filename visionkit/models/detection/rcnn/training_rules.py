"""Which regions teach R-CNN's last two stages (Girshick et al. 2013, section 2.3, appendices B and C)."""

import torch
from torch import Tensor
from torchvision.ops import box_iou

from visionkit.ops.boxes import share_inside
from visionkit.ops.matching import CROWD_SHARE, Objects


def class_overlaps(regions: Tensor, objects: Objects, num_classes: int) -> Tensor:
    """The best IoU of regions [R, 4] with an object of each class, [R, K]; 0 where the image has none."""
    labels = objects.labels.expand(len(regions), -1)
    none = regions.new_zeros(len(regions), num_classes)
    return none.scatter_reduce(1, labels, box_iou(regions, objects.boxes), "amax")


def negatives(regions: Tensor, objects: Objects, num_classes: int, iou: float) -> Tensor:
    """Which regions [R, 4] show nothing of a class, bool [R, K]: less than `iou` of overlap with any of its objects.

    Objects of other classes are among them. What lies mostly in a crowd region is none: it may show anything.
    """
    found = class_overlaps(regions, objects, num_classes) < iou
    if not len(objects.crowds):
        return found
    in_crowd = (share_inside(regions, objects.crowds) >= CROWD_SHARE).any(dim=1)
    return found & ~in_crowd[:, None]


def regression_pairs(regions: Tensor, objects: Objects, iou: float) -> tuple[Tensor, Tensor]:
    """Pairs of a region and the object nearest to it that overlap by more than `iou`.

    Returns:
        int64 [M] indices of regions, rising, and [M] of their objects.
    """
    if not len(objects.boxes) or not len(regions):
        nothing = objects.labels.new_zeros(0)
        return nothing, nothing
    best, nearest = box_iou(regions, objects.boxes).max(dim=1)
    rows = torch.where(best > iou)[0]
    return rows, nearest[rows]
