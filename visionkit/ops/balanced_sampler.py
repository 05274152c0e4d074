"""Random samples of positives and background for the losses of two-stage detectors."""

from typing import NamedTuple

import torch
from torch import Tensor


class BoxSample(NamedTuple):
    """Boxes of each image of a batch that enter a loss, S per image.

    Attributes:
        indices: int64 [B, S], the boxes; positives come first.
        used: bool [B, S]; the other rows fill the sample, so that all images have as many.
        max_positives: number of the first rows of an image that may be positives.
    """

    indices: Tensor
    used: Tensor
    max_positives: int


class BalancedSampler:
    """Random sample of each image's boxes with a bounded share of positives (Ren et al. 2015, section 3.1.3).

    If there are too few positives, background takes their places. If there is too little background, the sample is
    smaller. Its distribution is that of torchvision's `BalancedPositiveNegativeSampler`.

    Args:
        batch_size: maximum number of boxes per image.
        positive_fraction: maximum share of positives among them.
    """

    def __init__(self, batch_size: int, positive_fraction: float) -> None:
        self.batch_size, self.max_positives = batch_size, int(batch_size * positive_fraction)

    def __call__(self, classes: Tensor) -> BoxSample:
        """Draw a sample.

        Args:
            classes: int64 [B, N], above 0 for positives, 0 for background, below 0 for boxes that are never drawn.
        """
        number = classes.shape[1]
        # Boxes with the highest random keys are drawn: positives have keys in 1..2, background in 0..1, others -1.
        keys = self.random_keys(classes)
        positive_keys = (keys + 1).masked_fill(classes <= 0, -1.0)
        drawn, positives = positive_keys.topk(min(self.max_positives, number), dim=1)
        keys = keys.masked_fill(classes != 0, -1.0)
        keys = keys.scatter(1, positives, torch.where(drawn > 0, drawn, keys.gather(1, positives)))
        keys, indices = keys.topk(min(self.batch_size, number), dim=1)
        used = keys >= 0
        repeated = torch.arange(indices.shape[1], device=indices.device) % used.sum(dim=1, keepdim=True).clamp(min=1)
        return BoxSample(indices.gather(1, repeated), used, positives.shape[1])

    def random_keys(self, classes: Tensor) -> Tensor:
        """Return a random number in 0..1 for each of the boxes with `classes` [B, N]."""
        return torch.rand(classes.shape, device=classes.device)
