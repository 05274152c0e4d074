"""Which of many boxes of an image enter the loss: some objects, some hard background, some background at random."""

import torch
from torch import Tensor


def draw(classes: Tensor, hardness: Tensor, number: int, positive_fraction: float, hard_fraction: float) -> Tensor:
    """Choose boxes of each image of a batch.

    Where objects are too few, background takes their places; where background is, fewer boxes are chosen.

    Args:
        classes: int64 [B, A], above 0 for objects, 0 for background, below for boxes that are never chosen.
        hardness: float [B, A], of background boxes: the higher, the more the network is wrong about them.
        number: of boxes of each image at most.
        positive_fraction: share of objects among them at most; where there are more, they are drawn at random.
        hard_fraction: share of the hardest among the background boxes; the others are drawn at random.

    Returns:
        bool [B, A].
    """
    objects, background = classes > 0, classes == 0
    luck = torch.rand_like(hardness)
    chosen = highest(luck, objects, torch.full_like(classes[:, 0], int(number * positive_fraction)))
    left = number - chosen.sum(dim=1)
    hard = highest(hardness, background, (hard_fraction * left).round().long())
    return chosen | hard | highest(luck, background & ~hard, left - hard.sum(dim=1))


def highest(values: Tensor, allowed: Tensor, number: Tensor) -> Tensor:
    """The highest of the allowed values of each row.

    Args:
        values: float [B, A].
        allowed: bool [B, A].
        number: [B], how many of each row at most; a fraction counts as one more.

    Returns:
        bool [B, A].
    """
    order = values.masked_fill(~allowed, -torch.inf).argsort(dim=1, descending=True)
    rank = order.argsort(dim=1)
    return allowed & (rank < number[:, None])
