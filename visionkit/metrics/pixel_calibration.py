"""Calibration of the class probabilities of pixels."""

import torch
from torch import Tensor
from torchmetrics import Metric

from visionkit.metrics.reliability import BINS
from visionkit.ops.ignore import IGNORE

STEPS = 2**24
"""Steps of a confidence from 0 to 1. Sums are integers, which are exact, and stay so in a model of 16 bits."""


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
        self.add_state("bins", torch.zeros(3, BINS, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, bins: Tensor) -> None:
        """Add images, see `pixel_bins`."""
        self.bins += bins

    def compute(self) -> Tensor:
        """Return the error; NaN without pixels."""
        pixels, correct, confidences = bin_sums(self.bins)
        return (confidences - correct).abs().sum() / pixels.sum()


def pixel_bins(confidences: Tensor, labels: Tensor, truth: Tensor) -> Tensor:
    """Return the number of pixels, the number of correct ones and the sum of the confidences per bin, in `STEPS`.

    Args:
        confidences: probability of the predicted class of each pixel, float, any shape. NaN counts as 0.
        labels: predicted classes, any integer type, of the same shape.
        truth: true classes or 255, of the same shape. Pixels of 255 are left out.

    Returns:
        int64 [3, BINS].
    """
    confidences = confidences.float().nan_to_num(0)
    bins = (confidences * BINS).ceil_().to(torch.int32).sub_(1).clamp_(0, BINS - 1)
    bins = bins.masked_fill_(truth == IGNORE, BINS).flatten()
    is_correct = (labels == truth).flatten()
    # A count with weights would be an error on a GPU under trainer.deterministic=true, and sums of integers are not.
    wrong, correct = torch.bincount(2 * bins + is_correct, minlength=2 * BINS + 2).view(-1, 2).T
    sums = correct.new_zeros(BINS + 1).index_add_(0, bins, confidences.mul_(STEPS).round_().flatten().long())
    return torch.stack([wrong + correct, correct, sums])[:, :BINS]


def bin_sums(bins: Tensor) -> Tensor:
    """Return the bins of `pixel_bins`, int64 [..., 3, BINS], as float64 with sums of confidences of 0..1.

    Args:
        bins: of one image, of several, or of their sum.
    """
    return bins.double() / bins.new_tensor([[1], [1], [STEPS]])
