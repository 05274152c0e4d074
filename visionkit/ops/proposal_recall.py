"""Recall of object proposals."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.ops import box_iou


def best_overlaps(proposals: Tensor, objects: Tensor, counts: Sequence[int]) -> Tensor:
    """Compute for each object the best IoU with any of the first proposals.

    Args:
        proposals: [P, 4], xyxy, the best ranked first.
        objects: [N, 4], xyxy.
        counts: C numbers of first proposals.

    Returns:
        [N, C], in 0..1; 0 where there is no proposal.
    """
    best = torch.zeros(len(objects), len(counts), dtype=objects.dtype, device=objects.device)
    if not len(proposals):
        return best
    best_so_far = box_iou(objects, proposals).cummax(dim=1).values
    last = torch.tensor(counts, device=objects.device).clamp(max=len(proposals)) - 1
    return torch.where(last >= 0, best_so_far[:, last.clamp(min=0)], best)


def recall_at(overlaps: Tensor, iou: float) -> Tensor:
    """Compute the share of objects whose best IoU is at least `iou`.

    Args:
        overlaps: [N, C], see `best_overlaps`.
        iou: threshold in 0..1.

    Returns:
        [C]; NaN without objects.
    """
    return (overlaps >= iou).to(overlaps.dtype).mean(dim=0)
