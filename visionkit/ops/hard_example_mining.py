"""Online hard example mining (Shrivastava et al. 2016): learn from what is judged worst."""

from collections.abc import Sequence

import torch
from torch import Tensor


def hardest_of_each(losses: Tensor, counts: Sequence[int], most: int) -> Tensor:
    """Those of each image's examples with the highest losses (Shrivastava et al. 2016, section 4.2).

    Args:
        losses: [R], of the examples of all images, one image after the other.
        counts: how many examples each image has; R together.
        most: how many of each image are kept at most.

    Returns:
        int64 [H], rising: their places.
    """
    chosen, before = [], 0
    for own in losses.detach().split(list(counts)):
        chosen.append(own.topk(min(most, len(own)), sorted=False).indices + before)
        before += len(own)
    return torch.cat(chosen).sort().values
