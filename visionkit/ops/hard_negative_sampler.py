"""Sampling of boxes for a loss with hard negatives."""

import torch
from torch import Tensor


def sample_with_hard_negatives(
    classes: Tensor, hardness: Tensor, batch_size: int, positive_fraction: float, hard_fraction: float
) -> Tensor:
    """Sample boxes of each image: random positives, the hardest background, and random background.

    If there are too few positives, background takes their places. If there is too little background, the sample is
    smaller.

    Args:
        classes: int64 [B, A], above 0 for positives, 0 for background, below 0 for boxes that are never sampled.
        hardness: float [B, A], loss of the background boxes.
        batch_size: maximum number of boxes per image.
        positive_fraction: maximum share of positives among them.
        hard_fraction: share of the hardest boxes among the background; the others are drawn at random.

    Returns:
        bool [B, A].
    """
    positive, background = classes > 0, classes == 0
    random = torch.rand_like(hardness)
    sampled = topk_mask(random, positive, torch.full_like(classes[:, 0], int(batch_size * positive_fraction)))
    remaining = batch_size - sampled.sum(dim=1)
    hard = topk_mask(hardness, background, (hard_fraction * remaining).round().long())
    return sampled | hard | topk_mask(random, background & ~hard, remaining - hard.sum(dim=1))


def topk_mask(values: Tensor, allowed: Tensor, k: Tensor) -> Tensor:
    """Return the mask of the k highest allowed values in each row.

    Args:
        values: float [B, A].
        allowed: bool [B, A].
        k: [B], maximum number per row; a fraction counts as one more.

    Returns:
        bool [B, A].
    """
    order = values.masked_fill(~allowed, -torch.inf).argsort(dim=1, descending=True)
    rank = order.argsort(dim=1)
    return allowed & (rank < k[:, None])
