"""Selection of the regions that R-CNN's SVMs and box regression are fitted to (Girshick et al. 2013)."""

import torch
from torch import Tensor
from torchvision.ops import box_iou

from visionkit.ops.matching import Objects, in_crowd


def class_ious(regions: Tensor, objects: Objects, num_classes: int) -> Tensor:
    """Return the highest IoU of regions [R, 4] with an object of each class, [R, K]; 0 for classes without objects."""
    labels = objects.labels.expand(len(regions), -1)
    zeros = regions.new_zeros(len(regions), num_classes)
    return zeros.scatter_reduce(1, labels, box_iou(regions, objects.boxes), "amax")


def negatives(regions: Tensor, objects: Objects, num_classes: int, iou: float) -> Tensor:
    """Return which regions are negatives of each class (section 2.3 and appendix B).

    A negative overlaps each object of the class by less than `iou`. Objects of other classes are negatives. Regions
    mostly inside a crowd region are not.

    Args:
        regions: [R, 4].
        objects: ground truth of the image.
        num_classes: K.
        iou: upper bound of the IoU.

    Returns:
        bool [R, K].
    """
    below = class_ious(regions, objects, num_classes) < iou
    if not len(objects.crowds):
        return below
    return below & ~in_crowd(regions, objects.crowds)[:, None]


def regression_pairs(regions: Tensor, objects: Objects, iou: float) -> tuple[Tensor, Tensor]:
    """Return pairs of a region and its nearest object whose IoU is above `iou` (appendix C).

    Returns:
        int64 [M] indices of regions, ascending, and [M] of their objects.
    """
    if not len(objects.boxes) or not len(regions):
        empty = objects.labels.new_zeros(0)
        return empty, empty
    best_iou, nearest = box_iou(regions, objects.boxes).max(dim=1)
    indices = torch.where(best_iou > iou)[0]
    return indices, nearest[indices]
