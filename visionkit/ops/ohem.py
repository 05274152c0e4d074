"""Online hard example mining (Shrivastava et al. 2016): only the examples with the highest losses train."""

from collections.abc import Sequence

import torch
from torch import Tensor


def hardest_per_image(losses: Tensor, counts: Sequence[int], k: int) -> Tensor:
    """Return the indices of the examples with the highest losses of each image (Shrivastava et al. 2016, section 4.2).

    Args:
        losses: [R], losses of the examples of all images, one image after the other.
        counts: number of examples of each image; their sum is R.
        k: maximum number of examples per image.

    Returns:
        int64 [H], in ascending order.
    """
    selected, start = [], 0
    for image_losses in losses.detach().split(list(counts)):
        selected.append(image_losses.topk(min(k, len(image_losses)), sorted=False).indices + start)
        start += len(image_losses)
    return torch.cat(selected).sort().values
