"""Box arithmetic that torchvision.ops lacks. Boxes are xyxy in pixels, and coordinates are pixel edges."""

import torch
from torch import Tensor
from torchvision.ops import box_area

SMALLEST_DETECTION = 1e-2
"""Side in pixels; detections that are smaller after clipping are dropped, as in torchvision."""


def share_inside(boxes: Tensor, regions: Tensor) -> Tensor:
    """Compute the share of each box inside each region: intersection over the box's area, COCO's IoU with crowds.

    Args:
        boxes: [N, 4].
        regions: [M, 4].

    Returns:
        [N, M], in 0..1; 0 for boxes without area.
    """
    top_left = torch.maximum(boxes[:, None, :2], regions[:, :2])
    bottom_right = torch.minimum(boxes[:, None, 2:], regions[:, 2:])
    intersection = (bottom_right - top_left).clamp(min=0).prod(-1)
    areas: Tensor = box_area(boxes)[:, None]
    return intersection / areas.clamp(min=torch.finfo(boxes.dtype).tiny)


def has_area(boxes: Tensor, min_size: float) -> Tensor:
    """Return which boxes [N, 4] are at least `min_size` pixels wide and high; bool [N], False for NaN."""
    return ((boxes[:, 2:] - boxes[:, :2]) >= min_size).all(-1)


def box_centers(boxes: Tensor) -> Tensor:
    """Return the centers [..., 2] of boxes [..., 4]."""
    return (boxes[..., :2] + boxes[..., 2:]) / 2


def paired_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Compute the IoU of boxes [..., 4] with those at the same index of `others`; the two broadcast.

    Returns:
        [...], in 0..1; 0 where neither has area.
    """
    sides = (torch.minimum(boxes[..., 2:], others[..., 2:]) - torch.maximum(boxes[..., :2], others[..., :2])).clamp(0)
    intersection = sides.prod(-1)
    areas = [(corners[..., 2:] - corners[..., :2]).prod(-1) for corners in (boxes, others)]
    union = areas[0] + areas[1] - intersection
    return intersection / union.clamp(min=torch.finfo(union.dtype).tiny)


def mirrored(boxes: Tensor, width: float) -> Tensor:
    """Return boxes [N, 4] flipped horizontally in an image `width` pixels wide."""
    left, top, right, bottom = boxes.unbind(-1)
    return torch.stack([width - right, top, width - left, bottom], dim=-1)
