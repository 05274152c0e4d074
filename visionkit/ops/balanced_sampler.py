"""Random samples of positives and background for the losses of two-stage detectors."""

import torch
from torch import Tensor


class BalancedSampler:
    """Random sample of an image's boxes with a bounded share of positives (Ren et al. 2015, section 3.1.3).

    From the same seed it draws the same boxes as torchvision's `BalancedPositiveNegativeSampler`. If there are too few
    positives, background takes their places. If there is too little background, the sample is smaller.

    Args:
        batch_size: maximum number of boxes.
        positive_fraction: maximum share of positives among them.
    """

    def __init__(self, batch_size: int, positive_fraction: float) -> None:
        self.batch_size, self.positive_fraction = batch_size, positive_fraction

    def __call__(self, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Draw the sample of one image.

        Args:
            classes: int64 [N], above 0 for positives, 0 for background, below 0 for boxes that are never drawn.

        Returns:
            Two masks, bool [N]: the sampled positives and the sampled background.
        """
        positive, background = torch.where(classes > 0)[0], torch.where(classes == 0)[0]
        num_positive = min(len(positive), int(self.batch_size * self.positive_fraction))
        num_background = min(len(background), self.batch_size - num_positive)
        return _random_mask(classes, positive, num_positive), _random_mask(classes, background, num_background)


def _random_mask(classes: Tensor, indices: Tensor, number: int) -> Tensor:
    """Return a mask like `classes` [N] of `number` random ones among `indices`."""
    sampled = indices[torch.randperm(len(indices), device=indices.device)[:number]]
    return torch.zeros_like(classes, dtype=torch.bool).index_fill(0, sampled, True)
