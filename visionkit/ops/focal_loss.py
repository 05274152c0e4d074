"""Focal loss (Lin et al. 2017, section 3) over classes that are told by number, not by one-hot rows."""

import torch
from torch import Tensor
from torch.nn import functional


def focal_loss(logits: Tensor, classes: Tensor, alpha: float, gamma: float) -> Tensor:
    """Sum over the boxes of each image, each class being a question of its own.

    The same numbers as `torchvision.ops.sigmoid_focal_loss` on one-hot rows, without making them: nearly all answers
    are "no", so all are first charged as such, and the few that should be "yes" are put right.

    Args:
        logits: float [B, A, K].
        classes: int64 [B, A], 1..K for objects, 0 for none, -1 for boxes that teach nothing.
        alpha: weight of objects against 1 - alpha of everything else (Lin: .25).
        gamma: how strongly what is already right is passed over (Lin: 2).

    Returns:
        [B].
    """
    negative = (1 - alpha) * logits.sigmoid().pow(gamma) * functional.softplus(logits)
    of_each_box = negative.sum(dim=-1).masked_fill(classes < 0, 0.0).sum(dim=-1)
    image, box = torch.where(classes > 0)
    label = classes[image, box] - 1
    chosen = logits[image, box, label]
    positive = alpha * (-chosen).sigmoid().pow(gamma) * functional.softplus(-chosen)
    return of_each_box.index_add(0, image, positive - negative[image, box, label])
