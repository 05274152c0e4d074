"""Box arithmetic that torchvision.ops lacks. Boxes are xyxy, pixel edges."""

import torch
from torch import Tensor
from torchvision.ops import box_area

SMALLEST_DETECTION = 1e-2
"""Side in pixels below which a clipped detection is dropped (torchvision)."""


def share_inside(boxes: Tensor, regions: Tensor) -> Tensor:
    """Compute how much of each box lies in each region: intersection over own area, COCO's overlap with crowds.

    Args:
        boxes: [N, 4].
        regions: [M, 4].

    Returns:
        [N, M], in 0..1; 0 for boxes without area.
    """
    top_left = torch.maximum(boxes[:, None, :2], regions[:, :2])
    bottom_right = torch.minimum(boxes[:, None, 2:], regions[:, 2:])
    intersection = (bottom_right - top_left).clamp(min=0).prod(-1)
    own: Tensor = box_area(boxes)[:, None]
    return intersection / own.clamp(min=torch.finfo(boxes.dtype).tiny)


def has_area(boxes: Tensor, smallest: float) -> Tensor:
    """Tell which boxes [N, 4] are at least `smallest` pixels wide and high; bool [N], False for NaN."""
    return ((boxes[:, 2:] - boxes[:, :2]) >= smallest).all(-1)


def paired_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union of boxes [..., 4] with those at the same place of `others`; the two broadcast.

    Returns:
        [...], in 0..1; 0 where neither has area.
    """
    sides = (torch.minimum(boxes[..., 2:], others[..., 2:]) - torch.maximum(boxes[..., :2], others[..., :2])).clamp(0)
    intersection = sides.prod(-1)
    areas = [(one[..., 2:] - one[..., :2]).prod(-1) for one in (boxes, others)]
    union = areas[0] + areas[1] - intersection
    return intersection / union.clamp(min=torch.finfo(union.dtype).tiny)


def mirrored(boxes: Tensor, width: float) -> Tensor:
    """Boxes [N, 4] where they stand in the mirror image of an image `width` pixels wide."""
    left, top, right, bottom = boxes.unbind(-1)
    return torch.stack([width - right, top, width - left, bottom], dim=-1)
