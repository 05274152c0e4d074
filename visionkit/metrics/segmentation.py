"""What segmenters are judged by: one confusion matrix over the whole set, and how well boundaries are met."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchmetrics import Metric

from visionkit.metrics.confusion import PixelConfusion
from visionkit.metrics.results import MetricResults, per_class_values
from visionkit.ops.ignore import IGNORE

TOLERANCE = 0.0075
"""Distance at which boundaries still count as met, as a share of the image's diagonal (Csurka 2013, section 3)."""


class SegmentationMetrics(nn.Module):
    """Pixel accuracy, mean accuracy, mIoU, frequency-weighted IoU, Dice and boundary F1; by class, too.

    The matrix is that of all pixels of the set (Long 2015, section 5): the mean of the images' own metrics would be
    another number. Pixels of class 255 do not count, and neither do classes that no image has in any mean.

    Args:
        class_names: K names in label order.
        boundaries: whether boundary F1 is measured: for each image a distance transform a class.

    Attributes:
        main: the figure that a run is judged by.
        overall: the metrics over all classes of which higher is better.
    """

    main = "mIoU"

    def __init__(self, class_names: Sequence[str], boundaries: bool = False) -> None:
        super().__init__()
        self.class_names = list(class_names)
        self.confusion = PixelConfusion(len(self.class_names))
        self.boundary = BoundaryF1(len(self.class_names)) if boundaries else None
        self.overall = ["mIoU", "pixel_accuracy", "mean_accuracy", "fwIoU", "mean_dice"]
        self.overall += ["boundary_F1"] if boundaries else []

    def update(self, labels: Tensor, truth: Tensor) -> None:
        """Take in images.

        Args:
            labels: predicted classes of the pixels, any integer type, [H, W] or [B, H, W].
            truth: true classes or 255, of the same shape.
        """
        self.confusion.update(labels, truth)
        if self.boundary is not None:
            self.boundary.update(labels, truth)

    def compute(self) -> MetricResults:
        """Return the metrics over the images of all processes.

        `extras` has the confusion matrix in pixels: rows are the true classes, columns the predicted ones.
        """
        matrix = self.confusion.compute()
        counts = matrix.double()
        correct, there, said = counts.diagonal(), counts.sum(dim=1), counts.sum(dim=0)
        # A class that no image has is undefined, also where it is predicted: the pixels are missing elsewhere.
        iou, dice = (
            shared.where(there > 0, torch.nan)
            for shared in (correct / (there + said - correct), 2 * correct / (there + said))
        )
        accuracy = correct / there
        metrics = {
            "mIoU": iou.nanmean().item(),
            "pixel_accuracy": (correct.sum() / there.sum()).item(),
            "mean_accuracy": accuracy.nanmean().item(),
            "fwIoU": ((iou * there).nansum() / there.sum()).item(),
            "mean_dice": dice.nanmean().item(),
        }
        columns = {"IoU": iou, "accuracy": accuracy, "dice": dice, "pixels": there}
        if self.boundary is not None:
            columns["boundary_F1"] = self.boundary.compute()
            metrics["boundary_F1"] = columns["boundary_F1"].nanmean().item()
        per_class = {name: per_class_values(self.class_names, values.tolist()) for name, values in columns.items()}
        return MetricResults(metrics, per_class, {"confusion": matrix.tolist()})

    def reset(self) -> None:
        """Forget all images."""
        self.confusion.reset()
        if self.boundary is not None:
            self.boundary.reset()


class BoundaryF1(Metric):
    """F1 of each class's boundary pixels, the mean over the images that have the class (Csurka 2013, section 3).

    A boundary pixel is met where the other mask has one within `TOLERANCE`. Boundaries against ignored pixels are
    none, and predictions there do not count.

    Args:
        classes: K.
    """

    full_state_update = False
    sums: Tensor
    images: Tensor

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(classes, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros(classes, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, labels: Tensor, truth: Tensor) -> None:
        """Take in images: classes of the pixels [H, W] or [B, H, W], as of `SegmentationMetrics`."""
        shape = (-1, *labels.shape[-2:])
        for said, there in zip(labels.reshape(shape).cpu().numpy(), truth.reshape(shape).cpu().numpy(), strict=True):
            for label in set(np.unique(there).tolist()) - {IGNORE}:
                self.sums[label] += boundary_f1(said == label, there == label, there != IGNORE)
                self.images[label] += 1

    def compute(self) -> Tensor:
        """F1 of each class, float64 [K]; NaN where no image has it."""
        return self.sums / self.images


def boundary_f1(said: NDArray[np.bool_], there: NDArray[np.bool_], valid: NDArray[np.bool_]) -> float:
    """F1 of the boundary pixels of a class in an image.

    Args:
        said: predicted pixels of the class, bool [H, W].
        there: its true pixels, likewise.
        valid: pixels that count.

    Returns:
        0..1; 1 where neither mask has a boundary, as where both fill the image.
    """
    reach = TOLERANCE * float(np.hypot(*said.shape))
    edges = [_boundary(mask, valid) for mask in (said, there)]
    if not any(edge.any() for edge in edges):
        return 1.0
    if not all(edge.any() for edge in edges):
        return 0.0
    to_said, to_there = (
        cv2.distanceTransform((~edge).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for edge in edges
    )
    precision, recall = (to_there[edges[0]] <= reach).mean(), (to_said[edges[1]] <= reach).mean()
    return float(2 * precision * recall / max(precision + recall, 1e-12))


def _boundary(mask: NDArray[np.bool_], valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Valid pixels of a mask with a valid neighbor, above, below or beside it, that is not of the mask."""
    outside = valid & ~mask
    touched = np.zeros_like(mask)
    touched[1:] |= outside[:-1]
    touched[:-1] |= outside[1:]
    touched[:, 1:] |= outside[:, :-1]
    touched[:, :-1] |= outside[:, 1:]
    return mask & valid & touched
