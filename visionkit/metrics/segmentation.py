"""Metrics of semantic segmentation over a whole set of images."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from visionkit.errors import VisionkitError
from visionkit.metrics.boundary_f1 import BoundaryF1, image_boundary_f1
from visionkit.metrics.pixel_calibration import PixelCalibration, pixel_bins
from visionkit.metrics.pixel_confusion import PixelConfusionMatrix
from visionkit.metrics.results import MetricResults, per_class_values


class ImagePixels(NamedTuple):
    """Pixels of K classes in one image: correct ones, true ones and predicted ones, int64 [K].

    `boundary_f1` is float64 [K], NaN for classes that are not in the image. `bins` are those of the calibration,
    int64 [3, BINS], see `pixel_bins`. Both are None if they are not computed.
    """

    correct: Tensor
    true: Tensor
    predicted: Tensor
    boundary_f1: Tensor | None
    bins: Tensor | None


class SegmentationMetrics(nn.Module):
    """Mean IoU, pixel accuracy, mean accuracy, frequency-weighted IoU, Dice, boundary F1 and calibration error.

    They are computed from one confusion matrix of all pixels of the set (Long 2015, section 5), not as means over
    images. Pixels of class 255 are ignored. Classes that no image contains are NaN and left out of the means. All but
    the calibration error are also computed per class.

    Args:
        class_names: K names in label order.
        boundaries: whether boundary F1 is computed, which takes a distance transform per image and class.
        calibration: whether the calibration error is computed, which needs the confidences of the pixels.

    Attributes:
        main_metric: name of the metric that selects the best checkpoint by default.
        selectable: names of the metrics over all classes that can select it; higher is better.

    Example:
        >>> import torch
        >>> from visionkit.metrics.segmentation import SegmentationMetrics
        >>> metric = SegmentationMetrics(["sky", "road"])
        >>> metric.update(torch.tensor([[0, 0, 1, 1]]), torch.tensor([[0, 1, 1, 1]]))
        >>> results = metric.compute()
        >>> results.overall["pixel_accuracy"], results.per_class["IoU"]["sky"]
        (0.75, 0.5)
    """

    main_metric = "mIoU"

    def __init__(self, class_names: Sequence[str], boundaries: bool = False, calibration: bool = False) -> None:
        super().__init__()
        self.class_names = list(class_names)
        self.confusion = PixelConfusionMatrix(len(self.class_names))
        self.boundary = BoundaryF1(len(self.class_names)) if boundaries else None
        self.calibration = PixelCalibration() if calibration else None
        self.selectable = ["mIoU", "pixel_accuracy", "mean_accuracy", "fwIoU", "mean_dice"]
        self.selectable += ["boundary_F1"] if boundaries else []

    def update(self, labels: Tensor, truth: Tensor, confidences: Tensor | None = None) -> None:
        """Add images.

        Args:
            labels: predicted class of each pixel, any integer type, [H, W] or [B, H, W].
            truth: true class of each pixel or 255, of the same shape.
            confidences: probability of the predicted class of each pixel, of the same shape, for `calibration`.

        Raises:
            VisionkitError: the calibration error is computed, and there are no confidences.
        """
        shape = (-1, *labels.shape[-2:])
        self.confusion.update(labels, truth)
        self._update_calibration(labels, truth, confidences)
        if self.boundary is not None:
            for predicted, true in zip(labels.reshape(shape), truth.reshape(shape), strict=True):
                self.boundary.update(image_boundary_f1(predicted, true, len(self.class_names)))

    def update_image(self, labels: Tensor, truth: Tensor, confidences: Tensor | None = None) -> ImagePixels:
        """Add one image, and return its part of the metrics.

        Args:
            labels: predicted class of each pixel, any integer type, [H, W].
            truth: true class of each pixel or 255, [H, W].
            confidences: probability of the predicted class of each pixel, [H, W], for `calibration`.

        Raises:
            VisionkitError: the calibration error is computed, and there are no confidences.
        """
        before = self.confusion.counts.clone()
        self.confusion.update(labels, truth)
        counts = self.confusion.counts - before
        boundary_f1 = None
        if self.boundary is not None:
            boundary_f1 = image_boundary_f1(labels, truth, len(self.class_names))
            self.boundary.update(boundary_f1)
        bins = self._update_calibration(labels, truth, confidences)
        correct = counts.diagonal().clone()  # a view would keep all K x K counts of each image
        bins = None if bins is None else bins.cpu()
        return ImagePixels(correct.cpu(), counts.sum(1).cpu(), counts.sum(0).cpu(), boundary_f1, bins)

    def compute(self) -> MetricResults:
        """Return the metrics over the images of all processes.

        `extras` has the confusion matrix in pixels: rows are the true classes, columns the predicted ones.
        """
        matrix = self.confusion.compute()
        counts = matrix.double()
        correct, true, predicted = counts.diagonal(), counts.sum(dim=1), counts.sum(dim=0)
        # A class that no image contains is NaN even if it is predicted: those errors count for the true classes.
        iou = (correct / (true + predicted - correct)).where(true > 0, torch.nan)
        dice = (2 * correct / (true + predicted)).where(true > 0, torch.nan)
        accuracy = correct / true
        overall = {
            "mIoU": iou.nanmean().item(),
            "pixel_accuracy": (correct.sum() / true.sum()).item(),
            "mean_accuracy": accuracy.nanmean().item(),
            "fwIoU": ((iou * true).nansum() / true.sum()).item(),
            "mean_dice": dice.nanmean().item(),
        }
        columns = {"IoU": iou, "accuracy": accuracy, "dice": dice, "pixels": true}
        if self.boundary is not None:
            columns["boundary_F1"] = self.boundary.compute()
            overall["boundary_F1"] = columns["boundary_F1"].nanmean().item()
        if self.calibration is not None:
            overall["calibration_error"] = self.calibration.compute().item()
        per_class = {name: per_class_values(self.class_names, values.tolist()) for name, values in columns.items()}
        return MetricResults(overall, per_class, {"confusion": matrix.tolist()})

    def reset(self) -> None:
        """Remove all images."""
        self.confusion.reset()
        if self.boundary is not None:
            self.boundary.reset()
        if self.calibration is not None:
            self.calibration.reset()

    def _update_calibration(self, labels: Tensor, truth: Tensor, confidences: Tensor | None) -> Tensor | None:
        """Add pixels to the calibration, if it is computed, and return their bins."""
        if self.calibration is None:
            return None
        if confidences is None:
            raise VisionkitError("calibration=True needs the confidences of the pixels")
        bins = pixel_bins(confidences, labels, truth)
        self.calibration.update(bins)
        return bins
