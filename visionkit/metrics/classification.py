"""Metrics of image classification over a whole set of images, computed by torchmetrics."""

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MultilabelAveragePrecision,
    MultilabelStatScores,
)

from visionkit.metrics.all_gather import all_gather_objects
from visionkit.metrics.calibration import ExpectedCalibrationError
from visionkit.metrics.f1_threshold import best_threshold
from visionkit.metrics.results import MetricResults, per_class_values

CALIBRATION_BINS = 15
"""Number of bins of the expected calibration error (Guo 2017, section 3)."""


class ClassificationMetrics(nn.Module):
    """Base of the metrics of image classification over a whole set.

    Every process of a distributed run must call `compute`. An image that the loader gives to two processes counts
    twice.

    Args:
        class_names: K names in label order.

    Attributes:
        main_metric: name of the metric that selects the best checkpoint by default.
        selectable: names of the metrics over all classes that can select it; higher is better.
    """

    main_metric: ClassVar[str]
    selectable: Sequence[str]

    def __init__(self, class_names: Sequence[str]) -> None:
        super().__init__()
        self.class_names = list(class_names)

    def update(self, probabilities: Tensor, targets: Tensor) -> None:
        """Add a batch.

        Args:
            probabilities: [B, K], 0..1.
            targets: as the kind of labels needs it.
        """
        for metric in self.metrics():
            metric.update(probabilities, targets)

    def compute(self) -> MetricResults:
        """Return the metrics over the images of all processes."""
        raise NotImplementedError

    def best_thresholds(self) -> list[float | None] | None:
        """Return the thresholds of the classes with the highest F1; None if an image has one class."""
        return None

    def reset(self) -> None:
        """Remove all images."""
        for metric in self.metrics():
            metric.reset()

    def metrics(self) -> list[Metric]:
        """Return the metrics of torchmetrics that the results are computed from."""
        return [module for module in self.children() if isinstance(module, Metric)]

    def per_class(self, **columns: Tensor) -> dict[str, dict[str, float]]:
        """Return values [K] of several metrics by name and class."""
        return {name: per_class_values(self.class_names, values.tolist()) for name, values in columns.items()}


class SingleLabelMetrics(ClassificationMetrics):
    """Metrics for one class per image: top-1, top-5, mean recall, calibration error; recall and precision per class.

    Args:
        class_names: K names in label order. Top-5 accuracy is computed for more than five.

    Example:
        >>> import torch
        >>> from visionkit.metrics.classification import SingleLabelMetrics
        >>> metric = SingleLabelMetrics(["cat", "dog"])
        >>> metric.update(torch.tensor([[0.9, 0.1], [0.6, 0.4]]), torch.tensor([0, 1]))
        >>> results = metric.compute()
        >>> results.overall["top1"], results.per_class["recall"]
        (0.5, {'cat': 1.0, 'dog': 0.0})
    """

    main_metric = "top1"

    def __init__(self, class_names: Sequence[str]) -> None:
        super().__init__(class_names)
        classes = len(self.class_names)
        self.confusion = MulticlassConfusionMatrix(classes, validate_args=False)
        self.top5 = MulticlassAccuracy(classes, top_k=5, average="micro", validate_args=False) if classes > 5 else None
        self.calibration = ExpectedCalibrationError(classes, CALIBRATION_BINS)
        self.selectable = ["top1", *(["top5"] if self.top5 is not None else []), "mean_recall"]

    def update(self, probabilities: Tensor, targets: Tensor) -> None:
        """Add a batch.

        Args:
            probabilities: [B, K], each row adds up to 1.
            targets: int64 [B], 0..K-1.
        """
        super().update(probabilities, targets)

    def compute(self) -> MetricResults:
        """Return the metrics over the images of all processes.

        `extras` has the confusion matrix in images: rows are the true classes, columns the predicted ones.
        """
        matrix = self.confusion.compute()
        counts = matrix.double()
        correct, images, predicted = counts.diagonal(), counts.sum(dim=1), counts.sum(dim=0)
        recall = correct / images
        overall = {
            "top1": (correct.sum() / images.sum()).item(),
            **({"top5": self.top5.compute().item()} if self.top5 is not None else {}),
            "mean_recall": recall[images > 0].mean().item(),
            "calibration_error": self.calibration.compute().item(),
        }
        per_class = self.per_class(recall=recall, precision=correct / predicted, images=images)
        return MetricResults(overall, per_class, {"confusion": matrix.tolist()})


class MultiLabelMetrics(ClassificationMetrics):
    """Metrics for any number of classes per image: average precision, and F1 at a probability of 0.5, per class.

    Args:
        class_names: K names in label order.

    Example:
        >>> import torch
        >>> from visionkit.metrics.classification import MultiLabelMetrics
        >>> metric = MultiLabelMetrics(["cat", "dog"])
        >>> metric.update(torch.tensor([[0.9, 0.8], [0.2, 0.7]]), torch.tensor([[1.0, 1.0], [0.0, 1.0]]))
        >>> metric.compute().overall
        {'mAP': 1.0, 'F1': 1.0}
    """

    main_metric = "mAP"
    selectable = ("mAP", "F1")

    def __init__(self, class_names: Sequence[str]) -> None:
        super().__init__(class_names)
        classes = len(self.class_names)
        self.average_precision = MultilabelAveragePrecision(classes, average=None, validate_args=False)
        self.counts = MultilabelStatScores(classes, average=None, validate_args=False)

    def update(self, probabilities: Tensor, targets: Tensor) -> None:
        """Add a batch.

        Args:
            probabilities: [B, K], each from 0 to 1.
            targets: float [B, K], 1 for the classes of the image.
        """
        super().update(probabilities, targets.long())

    def compute(self) -> MetricResults:
        """Return the metrics over the images of all processes; the means leave out classes without images."""
        if not self.average_precision.preds:  # torchmetrics would wait for ever for a process without images
            nothing = torch.zeros(0, len(self.class_names), device=self.average_precision.device)
            self.average_precision.update(nothing, nothing.long())
        true_positives, false_positives, negatives, false_negatives, images = self.counts.compute().view(-1, 5).T
        average_precision = torch.full(images.shape, math.nan, device=images.device)
        if (images + false_positives + negatives).any():
            # torchmetrics gives a class without images an AP of 0, which would lower the mean.
            average_precision = self.average_precision.compute().view(-1).where(images > 0, math.nan)
        f1 = 2 * true_positives / (2 * true_positives + false_positives + false_negatives)
        f1 = f1.where(images > 0, math.nan)
        per_class = self.per_class(AP=average_precision, F1=f1, images=images)
        return MetricResults({"mAP": average_precision.nanmean().item(), "F1": f1.nanmean().item()}, per_class)

    def best_thresholds(self) -> list[float | None]:
        """Return the probability of each class with the highest F1 on the images of all processes.

        Returns:
            K thresholds, None for a class without images.
        """
        own = [
            torch.cat(list(values)).cpu()
            for values in (self.average_precision.preds, self.average_precision.target)
            if values
        ]
        parts = [part for part in all_gather_objects(own) if part]
        if not parts:
            return [None] * len(self.class_names)
        probabilities, targets = (torch.cat(values).numpy() for values in zip(*parts, strict=True))
        points = [
            best_threshold(probabilities[:, label], targets[:, label] > 0, int(targets[:, label].sum()))
            for label in range(len(self.class_names))
        ]
        return [None if math.isnan(point.threshold) else point.threshold for point in points]
