"""What classifiers are judged by, over a whole set: torchmetrics' metrics under the names of our tables."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassCalibrationError,
    MulticlassConfusionMatrix,
    MultilabelAveragePrecision,
    MultilabelStatScores,
)

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

    def compute(self) -> dict[str, float]:
        """The metrics over all images seen by all processes; what no image defines is NaN."""
        counts = self.confusion.compute().double()
        correct, there, said = counts.diagonal(), counts.sum(dim=1), counts.sum(dim=0)
        recall, precision = correct / there, correct / said
        metrics = {
            "top1": (correct.sum() / there.sum()).item(),
            **({"top5": self.top5.compute().item()} if self.top5 is not None else {}),
            "mean_recall": recall[there > 0].mean().item(),
            "calibration_error": self.calibration.compute().item(),
        }
        return metrics | by_class(self.class_names, recall=recall, precision=precision, images=there)

    def details(self) -> dict[str, Any]:
        """The confusion matrix: rows are the true classes, columns the predicted ones."""
        return {"confusion": self.confusion.compute().tolist()}

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

    def compute(self) -> dict[str, float]:
        """The metrics over all images seen by all processes; classes that do not occur are NaN, and in no mean."""
        right, wrong, _, missed, there = self.counts.compute().view(-1, 5).T
        # torchmetrics gives a class without images a precision of 0, which would pull the mean down.
        precision = self.precision.compute().view(-1).where(there > 0, math.nan)
        f1 = (2 * right / (2 * right + wrong + missed)).where(there > 0, math.nan)
        metrics = {"mAP": precision.nanmean().item(), "F1": f1.nanmean().item()}
        return metrics | by_class(self.class_names, AP=precision, F1=f1, images=there)

    def details(self) -> dict[str, Any]:
        """Nothing beyond the metrics."""
        return {}

    def reset(self) -> None:
        """Forget all images."""
        self.precision.reset()
        self.counts.reset()


def by_class(class_names: Sequence[str], **metrics: Tensor) -> dict[str, float]:
    """Metrics [K] as "<figure>/<class>"."""
    return {
        f"{figure}/{name}": value
        for figure, values in metrics.items()
        for name, value in zip(class_names, torch.as_tensor(values).tolist(), strict=True)
    }
