"""Calibration of the class probabilities of pixels."""

import torch
from torch import Tensor
from torchmetrics import Metric

from visionkit.metrics.reliability import BINS
from visionkit.ops.ignore import IGNORE


class PixelCalibration(Metric):
    """Expected calibration error of pixels with the bins of `find_reliability`, without keeping the pixels.

    The confidence of a pixel is the probability of its predicted class.

    Example:
        >>> import torch
        >>> from visionkit.metrics.pixel_calibration import PixelCalibration, pixel_bins
        >>> labels, truth = torch.tensor([[0, 1, 1]]), torch.tensor([[0, 0, 255]])
        >>> metric = PixelCalibration()
        >>> metric.update(pixel_bins(torch.tensor([[1.0, 0.95, 0.5]]), labels, truth))
        >>> round(metric.compute().item(), 3)
        0.475
    """

    full_state_update = False
    bins: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("bins", torch.zeros(3, BINS, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, bins: Tensor) -> None:
        """Add images, see `pixel_bins`."""
        self.bins += bins

    def compute(self) -> Tensor:
        """Return the error; NaN without pixels."""
        pixels, correct, confidences = self.bins
        return (confidences - correct).abs().sum() / pixels.sum()


def pixel_bins(confidences: Tensor, labels: Tensor, truth: Tensor) -> Tensor:
    """Return the number of pixels, the number of correct ones and the sum of the confidences per bin.

    Args:
        confidences: probability of the predicted class of each pixel, float, any shape.
        labels: predicted classes, any integer type, of the same shape.
        truth: true classes or 255, of the same shape. Pixels of 255 are left out.

    Returns:
        float64 [3, BINS].
    """
    bins = (confidences * BINS).ceil_().to(torch.int32).sub_(1).clamp_(0, BINS - 1)
    bins = bins.masked_fill_(truth == IGNORE, BINS).flatten()
    is_correct = (labels == truth).flatten()
    # Counts without weights are integers, which are exact and the same in each run on a GPU.
    wrong, correct = torch.bincount(2 * bins + is_correct, minlength=2 * BINS + 2).view(-1, 2).T
    sums = torch.bincount(bins, confidences.flatten().double(), minlength=BINS + 1)
    return torch.stack([(wrong + correct).double(), correct.double(), sums])[:, :BINS]
