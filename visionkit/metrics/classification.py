"""What classifiers are judged by, over a whole set: torchmetrics' metrics under the names of our tables."""

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCalibrationError,
    MulticlassConfusionMatrix,
    MultilabelAveragePrecision,
    MultilabelStatScores,
)

from visionkit.metrics.results import MetricResults, per_class_values

CALIBRATION_BINS = 15
"""Bins of the expected calibration error (Guo 2017, section 3)."""


class SingleLabelMetrics(nn.Module):
    """Metrics where every image has one class: top-1, top-5, recall and precision by class, calibration error.

    `compute` makes all processes meet; images count once if the loader hands each of them out once.

    Args:
        class_names: K names in label order.

    Attributes:
        main: the figure that a run is judged by.
        overall: the metrics over all classes of which higher is better.
    """

    main = "top1"

    def __init__(self, class_names: Sequence[str]) -> None:
        super().__init__()
        self.class_names = list(class_names)
        classes = len(self.class_names)
        self.confusion = MulticlassConfusionMatrix(classes, validate_args=False)
        self.top5 = MulticlassAccuracy(classes, top_k=5, average="micro", validate_args=False) if classes > 5 else None
        self.calibration = MulticlassCalibrationError(classes, n_bins=CALIBRATION_BINS, validate_args=False)
        self.overall = ["top1", *(["top5"] if self.top5 is not None else []), "mean_recall"]

    def update(self, probabilities: Tensor, targets: Tensor) -> None:
        """Take in a batch.

        Args:
            probabilities: [B, K], each row adding up to 1.
            targets: int64 [B], 0..K-1.
        """
        for part in self._parts():
            part.update(probabilities, targets)

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
        columns = {"recall": recall, "precision": correct / predicted, "images": images}
        per_class = {name: per_class_values(self.class_names, values.tolist()) for name, values in columns.items()}
        return MetricResults(overall, per_class, {"confusion": matrix.tolist()})

    def reset(self) -> None:
        """Forget all images."""
        for part in self._parts():
            part.reset()

    def _parts(self) -> list[Any]:
        return [part for part in (self.confusion, self.top5, self.calibration) if part is not None]


class MultiLabelMetrics(nn.Module):
    """Metrics where an image has any number of classes: average precision and F1 (at a score of .5) by class.

    Args:
        class_names: K names in label order.

    Attributes:
        main, overall: as of `SingleLabelMetrics`.
    """

    main = "mAP"
    overall = ("mAP", "F1")

    def __init__(self, class_names: Sequence[str]) -> None:
        super().__init__()
        self.class_names = list(class_names)
        classes = len(self.class_names)
        self.precision = MultilabelAveragePrecision(classes, average=None, validate_args=False)
        self.counts = MultilabelStatScores(classes, average=None, validate_args=False)

    def update(self, probabilities: Tensor, targets: Tensor) -> None:
        """Take in a batch.

        Args:
            probabilities: [B, K], each from 0 to 1.
            targets: float [B, K], 1 where the class holds.
        """
        self.precision.update(probabilities, targets.long())
        self.counts.update(probabilities, targets.long())

    def compute(self) -> MetricResults:
        """Return the metrics over the images of all processes; the means leave out classes without images."""
        true_positives, false_positives, _, false_negatives, images = self.counts.compute().view(-1, 5).T
        # torchmetrics gives a class without images a precision of 0, which would pull the mean down.
        precision = self.precision.compute().view(-1).where(images > 0, math.nan)
        f1 = 2 * true_positives / (2 * true_positives + false_positives + false_negatives)
        f1 = f1.where(images > 0, math.nan)
        columns = {"AP": precision, "F1": f1, "images": images}
        per_class = {name: per_class_values(self.class_names, values.tolist()) for name, values in columns.items()}
        return MetricResults({"mAP": precision.nanmean().item(), "F1": f1.nanmean().item()}, per_class)

    def reset(self) -> None:
        """Forget all images."""
        self.precision.reset()
        self.counts.reset()
