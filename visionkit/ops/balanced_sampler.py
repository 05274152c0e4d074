"""Random samples of positives and negatives for the losses of two-stage detectors (Girshick 2015; Ren et al. 2015)."""

import torch
from torch import Tensor


class BalancedSampler:
    """Draws a fixed number of boxes of each image, with a bounded share of positives.

    The draws equal those of torchvision for the same state of the random generator.

    Args:
        batch_size: number of boxes of each image.
        positive_fraction: largest share of positives among them; negatives fill the rest.
    """

    def __init__(self, batch_size: int, positive_fraction: float) -> None:
        self.batch_size, self.max_positives = batch_size, int(batch_size * positive_fraction)

    def __call__(self, classes: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Draw from the boxes of each image.

        Args:
            classes: int64 [N] of each image; above 0 is positive, 0 negative, -1 is never drawn.

        Returns:
            Masks bool [N] of the drawn positives and of the drawn negatives of each image.
        """
        positives, negatives = zip(*[self._draw(of_image) for of_image in classes], strict=True)
        return list(positives), list(negatives)

    def _draw(self, classes: Tensor) -> tuple[Tensor, Tensor]:
        positives, negatives = torch.where(classes >= 1)[0], torch.where(classes == 0)[0]
        num_positives = min(len(positives), self.max_positives)
        num_negatives = min(len(negatives), self.batch_size - num_positives)
        return _mask(classes, positives, num_positives), _mask(classes, negatives, num_negatives)


def _mask(classes: Tensor, candidates: Tensor, number: int) -> Tensor:
    """Return bool [N], true at `number` random places of `candidates`."""
    drawn = candidates[torch.randperm(len(candidates), device=classes.device)[:number]]
    return torch.zeros_like(classes, dtype=torch.bool).index_fill(0, drawn, True)
