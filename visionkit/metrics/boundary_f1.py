"""F1 of the boundaries of segmented classes (Csurka et al. 2013, section 3)."""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from visionkit.ops.ignore import IGNORE

TOLERANCE = 0.0075
"""Distance within which boundary pixels match, as a share of the image's diagonal (section 3)."""

STEPS = 2**32
"""Steps of the F1 of an image from 0 to 1. Sums are integers, which stay exact in a model of 16 bits."""


class BoundaryF1(Metric):
    """F1 of the boundary pixels of each class, as the mean over the images that contain the class.

    A boundary pixel is matched if the other mask has a boundary pixel within `TOLERANCE`. The border between a class
    and ignored pixels is not a boundary, and predictions on ignored pixels do not count.

    Args:
        num_classes: K.

    Example:
        >>> import torch
        >>> from visionkit.metrics.boundary_f1 import BoundaryF1, image_boundary_f1
        >>> mask = torch.zeros(20, 20, dtype=torch.uint8)
        >>> mask[5:15, 5:15] = 1
        >>> metric = BoundaryF1(num_classes=2)
        >>> metric.update(image_boundary_f1(mask, mask, num_classes=2))
        >>> metric.compute().tolist()
        [1.0, 1.0]
    """

    full_state_update = False
    sums: Tensor
    images: Tensor

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, values: Tensor) -> None:
        """Add the values of an image, see `image_boundary_f1`."""
        values = values.to(self.sums.device)
        self.sums += (values.nan_to_num() * STEPS).round().long()
        self.images += ~values.isnan()

    def compute(self) -> Tensor:
        """Return float64 [K]; NaN for a class that no image contains."""
        return self.sums.double() / STEPS / self.images


def image_boundary_f1(labels: Tensor, truth: Tensor, num_classes: int) -> Tensor:
    """Return the F1 of the boundary pixels of each class in one image.

    Args:
        labels: predicted class of each pixel, [H, W].
        truth: true class of each pixel or 255, [H, W].
        num_classes: K.

    Returns:
        float64 [K] on the CPU; NaN for a class that the image does not contain.
    """
    predicted, true = labels.cpu().numpy(), truth.cpu().numpy()
    values = torch.full((num_classes,), torch.nan, dtype=torch.float64)
    for label in set(np.unique(true).tolist()) - {IGNORE}:
        values[label] = boundary_f1(predicted == label, true == label, true != IGNORE)
    return values


def boundary_f1(predicted: NDArray[np.bool_], true: NDArray[np.bool_], valid: NDArray[np.bool_]) -> float:
    """Return the F1 of the boundary pixels of one class in one image.

    Args:
        predicted: predicted pixels of the class, bool [H, W].
        true: true pixels of the class, bool [H, W].
        valid: pixels that are not ignored, bool [H, W].

    Returns:
        0..1; 1 if neither mask has a boundary, for example if both fill the image.
    """
    tolerance = TOLERANCE * float(np.hypot(*predicted.shape))
    boundaries = [_boundary(mask, valid) for mask in (predicted, true)]
    if not any(boundary.any() for boundary in boundaries):
        return 1.0
    if not all(boundary.any() for boundary in boundaries):
        return 0.0
    to_predicted, to_true = (
        cv2.distanceTransform((~boundary).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
        for boundary in boundaries
    )
    precision = (to_true[boundaries[0]] <= tolerance).mean()
    recall = (to_predicted[boundaries[1]] <= tolerance).mean()
    return float(2 * precision * recall / max(precision + recall, 1e-12))


def _boundary(mask: NDArray[np.bool_], valid: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the valid pixels of a mask that have a valid 4-neighbor outside the mask."""
    outside = valid & ~mask
    neighbor_outside = np.zeros_like(mask)
    neighbor_outside[1:] |= outside[:-1]
    neighbor_outside[:-1] |= outside[1:]
    neighbor_outside[:, 1:] |= outside[:, :-1]
    neighbor_outside[:, :-1] |= outside[:, 1:]
    return mask & valid & neighbor_outside
