"""The confusion matrix of pixels."""

import torch
from torch import Tensor
from torchmetrics import Metric

from visionkit.errors import VisionkitError
from visionkit.ops.ignore import IGNORE

_MASK_VALUES = 256
"""Number of values of a uint8 mask."""


class PixelConfusionMatrix(Metric):
    """The confusion matrix of pixels, equal to torchmetrics' `MulticlassConfusionMatrix` and many times as fast.

    torchmetrics copies the pixels that are not ignored and converts all of them to 64 bits several times. Here a pair
    of classes is one number of 16 bits, or of 32 for many classes, and ignored pixels are counted in rows of their own
    that are dropped.

    Args:
        num_classes: K.

    Example:
        >>> import torch
        >>> from visionkit.metrics.pixel_confusion import PixelConfusionMatrix
        >>> metric = PixelConfusionMatrix(num_classes=2)
        >>> metric.update(torch.tensor([[0, 1, 1]]), torch.tensor([[0, 0, 255]]))
        >>> metric.compute().tolist()
        [[1, 1], [0, 0]]
    """

    full_state_update = False
    counts: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.add_state("counts", torch.zeros(num_classes, num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, labels: Tensor, truth: Tensor) -> None:
        """Add pixels.

        Args:
            labels: predicted classes, any integer type and shape.
            truth: true classes or 255, of the same shape.

        Raises:
            VisionkitError: a true class is neither in 0..K-1 nor 255.
        """
        num_classes = self.num_classes
        dtype = torch.int16 if _MASK_VALUES * num_classes <= torch.iinfo(torch.int16).max else torch.int32
        pairs = truth.to(dtype, copy=True).mul_(num_classes).add_(labels)
        rows = torch.bincount(pairs.flatten(), minlength=_MASK_VALUES * num_classes).view(_MASK_VALUES, num_classes)
        if rows[num_classes:IGNORE].any():
            raise VisionkitError(
                f"a mask has a class index above {num_classes - 1}, but there are {num_classes} classes"
            )
        self.counts += rows[:num_classes]

    def compute(self) -> Tensor:
        """Return int64 [K, K]; rows are the true classes, columns the predicted ones."""
        return self.counts
