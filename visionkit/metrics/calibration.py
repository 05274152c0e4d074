"""Expected calibration error, the mean gap between confidence and accuracy."""

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassCalibrationError
from torchmetrics.utilities import dim_zero_cat


class ExpectedCalibrationError(MulticlassCalibrationError):
    """Expected calibration error with the bins of Guo et al. 2017 (section 2, equation 3): ((m - 1) / M, m / M].

    torchmetrics closes its bins at the lower edge instead, so that a confidence of exactly 1 gets a bin of its own.

    Args:
        num_classes: K.
        n_bins: number of bins M.

    Example:
        >>> import torch
        >>> from visionkit.metrics.calibration import ExpectedCalibrationError
        >>> metric = ExpectedCalibrationError(num_classes=2, n_bins=15)
        >>> metric.update(torch.tensor([[1.0, 0.0], [0.95, 0.05]]), torch.tensor([0, 1]))
        >>> round(metric.compute().item(), 3)
        0.475
    """

    def __init__(self, num_classes: int, n_bins: int) -> None:
        super().__init__(num_classes, n_bins=n_bins, validate_args=False)

    def compute(self) -> Tensor:
        """Return the error over the images of all processes."""
        confidences, correct = dim_zero_cat(self.confidences), dim_zero_cat(self.accuracies)
        edges = torch.linspace(0, 1, self.n_bins + 1, dtype=confidences.dtype, device=confidences.device)
        bins = torch.bucketize(confidences, edges[1:-1])
        gaps = confidences.new_zeros(self.n_bins).index_add(0, bins, confidences - correct.to(confidences.dtype))
        return gaps.abs().sum() / len(confidences)
