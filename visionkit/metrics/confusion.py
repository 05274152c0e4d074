"""How often each class is taken for each other one, over the pixels of a whole set."""

import torch
from torch import Tensor
from torchmetrics import Metric

from visionkit.errors import VisionkitError
from visionkit.ops.ignore import IGNORE

_VALUES = 256
"""Of a mask's bytes."""


class PixelConfusion(Metric):
    """The confusion matrix of pixels; the numbers of torchmetrics' `MulticlassConfusionMatrix`, many times as fast.

    That one copies the pixels that count and widens all of them to 64 bits several times. Here a pixel's pair of
    classes is a number of 16 bits where that is enough; every value of a mask has its row, and the classes' are kept.

    Args:
        classes: K.
    """

    full_state_update = False
    counts: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.classes = classes
        self.add_state("counts", torch.zeros(classes, classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, labels: Tensor, truth: Tensor) -> None:
        """Take in pixels.

        Args:
            labels: predicted classes, any integer type and shape.
            truth: true classes or 255, of the same shape.

        Raises:
            VisionkitError: a true class is none of the K, and not 255 either.
        """
        kind = torch.int16 if _VALUES * self.classes <= torch.iinfo(torch.int16).max else torch.int32
        pairs = truth.to(kind, copy=True).mul_(self.classes).add_(labels)
        rows = torch.bincount(pairs.flatten(), minlength=_VALUES * self.classes).view(_VALUES, self.classes)
        if rows[self.classes : IGNORE].any():
            raise VisionkitError(f"a mask has a class that there is not: the {self.classes} classes count from 0")
        self.counts += rows[: self.classes]

    def compute(self) -> Tensor:
        """int64 [K, K]: rows are the true classes, columns the predicted ones."""
        return self.counts
