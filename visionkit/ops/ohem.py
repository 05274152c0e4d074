"""Online hard example mining (Shrivastava et al. 2016): only the examples with the highest losses train."""

import torch
from torch import Tensor


def hardest_per_image(losses: Tensor, allowed: Tensor, k: int) -> Tensor:
    """Return the examples with the highest losses of each image (Shrivastava et al. 2016, section 4.2).

    Args:
        losses: [B, S], losses of the examples of each image.
        allowed: bool [B, S], which examples count.
        k: maximum number of examples per image.

    Returns:
        bool [B, S].
    """
    indices = losses.detach().masked_fill(~allowed, -torch.inf).topk(min(k, losses.shape[1]), dim=1).indices
    # NaN is the highest loss for `topk`. It is selected, so that the total shows that the training has diverged.
    return torch.zeros_like(allowed).scatter(1, indices, allowed.gather(1, indices))
