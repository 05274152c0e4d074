"""Scored images of a classifier: confidence intervals, calibration and curves."""

import itertools
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from visionkit.metrics.bootstrap import Counts, ResampledMetrics, by_class, mean_of_defined
from visionkit.metrics.f1_threshold import at_threshold, precision_recall_f1
from visionkit.metrics.image_ids import ImageId, sort_key
from visionkit.metrics.reliability import BINS, find_reliability
from visionkit.metrics.resampled_ap import COCO_RECALL
from visionkit.metrics.results import MetricResults, per_class_values
from visionkit.metrics.scored_images import ScoredImages

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

TOP = 5


class ScoredLabels(ScoredImages):
    """Probabilities and true classes of a classifier's images. Subclasses are for one or several classes per image.

    Args:
        images: probabilities float [K] and true classes (int64 [], or float [K] for several) of each image by id.
        class_names: K names in label order.
    """

    def __init__(self, images: Mapping[ImageId, tuple[Tensor, Tensor]], class_names: Sequence[str]) -> None:
        ids = sorted(images, key=sort_key)
        super().__init__(ids, class_names)
        self.probabilities = np.stack([images[image_id][0].numpy() for image_id in ids])
        self.targets = np.stack([images[image_id][1].numpy() for image_id in ids])

    def is_class(self, label: int) -> Flags:
        """Return whether each image has a class [I]."""
        raise NotImplementedError

    def curves(self) -> dict[str, Any]:
        """Return the receiver operating characteristic and the precision at 101 points, and the areas, per class."""
        found = {
            name: _curves(self.probabilities[:, label], self.is_class(label))
            for label, name in enumerate(self.class_names)
        }
        classes = {name: curve for name, curve in found.items() if curve is not None}
        return {"grid": COCO_RECALL.round(2).tolist(), "classes": classes}


class ScoredSingleLabels(ScoredLabels):
    """Scored images with one class each; see `ScoredLabels`."""

    def __init__(self, images: Mapping[ImageId, tuple[Tensor, Tensor]], class_names: Sequence[str]) -> None:
        super().__init__(images, class_names)
        rows = np.arange(len(self.targets))
        self.labels = self.probabilities.argmax(axis=1)
        self.confidences = self.probabilities[rows, self.labels].astype(np.float64)
        self.correct = self.labels == self.targets
        own = self.probabilities[rows, self.targets]
        self.in_top = (self.probabilities > own[:, None]).sum(axis=1) < TOP

    def is_class(self, label: int) -> Flags:
        """See `ScoredLabels.is_class`."""
        return self.targets == label

    def resample(self, counts: Counts) -> ResampledMetrics:
        """See `ScoredImages.resample`."""
        total = counts.sum(axis=0)
        hits = counts * self.correct[:, None]
        images, correct = (_sums_by(self.targets, table, len(self.class_names)) for table in (counts, hits))
        predicted = _sums_by(self.labels, counts, len(self.class_names))
        recall = np.where(images > 0, correct / np.maximum(images, 1), np.nan)
        right = _sums_by(self.labels, hits, len(self.class_names))
        precision = np.where(predicted > 0, right / np.maximum(predicted, 1), np.nan)
        overall = {"top1": hits.sum(axis=0) / total, "mean_recall": mean_of_defined(recall)}
        if len(self.class_names) > TOP:
            overall["top5"] = self.in_top.astype(np.float32) @ counts / total
        overall["calibration_error"] = self._calibration_error(counts)
        columns = {"recall": recall, "precision": precision}
        return ResampledMetrics(overall, by_class(self.class_names, columns))

    @cached_property
    def image_scores(self) -> Floats:
        """1 for the images whose most probable class is true, and 0 for the others [I]."""
        return self.correct.astype(np.float64)

    def analysis(self) -> dict[str, Any]:
        """Return the calibration, and the curves of each class."""
        return {
            "calibration": find_reliability(self.confidences, self.correct).to_dict(),
            "curves": self.curves(),
        }

    def _calibration_error(self, counts: Counts) -> Floats:
        bins = np.searchsorted(np.linspace(0, 1, BINS + 1)[1:-1], self.confidences, side="left")
        gaps = (self.confidences - self.correct).astype(np.float32)[:, None] * counts
        return np.abs(_sums_by(bins, gaps, BINS)).sum(axis=0) / counts.sum(axis=0)


class ScoredMultiLabels(ScoredLabels):
    """Scored images with any number of classes.

    Args:
        images: see `ScoredLabels`.
        class_names: K names in label order.
        thresholds: probability of each class [K] from which on an image has it.
    """

    def __init__(
        self, images: Mapping[ImageId, tuple[Tensor, Tensor]], class_names: Sequence[str], thresholds: Sequence[float]
    ) -> None:
        super().__init__(images, class_names)
        self.thresholds = np.array(thresholds)

    def is_class(self, label: int) -> Flags:
        """See `ScoredLabels.is_class`."""
        return self.targets[:, label] > 0

    def at_thresholds(self) -> MetricResults:
        """Return precision, recall and F1 over all classes and per class, and the thresholds."""
        points = [
            at_threshold(self.probabilities[:, label], truth, int(truth.sum()), threshold)
            for label, threshold in enumerate(self.thresholds.tolist())
            for truth in [self.is_class(label)]
        ]
        threshold, precision, recall, f1 = np.array(points, np.float64).T
        columns = {"F1": f1, "precision": precision, "recall": recall}
        overall = {name: float(mean_of_defined(values)) for name, values in columns.items()}
        per_class = {
            name: per_class_values(self.class_names, values.tolist())
            for name, values in {**columns, "threshold": threshold}.items()
        }
        return MetricResults(overall, per_class)

    def resample(self, counts: Counts) -> ResampledMetrics:
        """See `ScoredImages.resample`."""
        columns: dict[str, list[Floats]] = {"AP": [], "F1": [], "precision": [], "recall": []}
        for label in range(len(self.class_names)):
            scores, truth = self.probabilities[:, label], self.is_class(label)
            columns["AP"].append(_average_precision(scores, truth, counts))
            predicted = scores >= self.thresholds[label]
            numbers = (rows.astype(np.float32) @ counts for rows in (predicted & truth, predicted, truth))
            for name, values in precision_recall_f1(*numbers).items():
                columns[name].append(values)
        overall = {
            "mAP" if name == "AP" else name: mean_of_defined(np.stack(values)) for name, values in columns.items()
        }
        return ResampledMetrics(overall, by_class(self.class_names, columns))

    @cached_property
    def image_scores(self) -> Floats:
        """F1 of the classes of each image at the thresholds [I]; NaN for one without any classes."""
        predicted, true = self.probabilities >= self.thresholds, self.targets > 0
        total = predicted.sum(axis=1) + true.sum(axis=1)
        return np.where(total > 0, 2 * (predicted & true).sum(axis=1) / np.maximum(total, 1), np.nan)

    def analysis(self) -> dict[str, Any]:
        """Return the calibration of all probabilities, and the curves of each class."""
        true = self.targets > 0
        found = find_reliability(self.probabilities.reshape(-1).astype(np.float64), true.reshape(-1))
        return {"calibration": found.to_dict(), "curves": self.curves()}


def _sums_by(groups: NDArray[np.int64], values: Counts, number: int) -> Floats:
    """Return the sums of the rows [I, R] of each group, [G, R]."""
    order = np.argsort(groups, kind="stable")
    bounds = np.searchsorted(groups[order], np.arange(number + 1))
    sums = [values[order[start:end]].sum(axis=0) for start, end in itertools.pairwise(bounds)]
    return np.stack(sums).astype(np.float64)


def _average_precision(scores: Floats, truth: Flags, counts: Counts) -> Floats:
    """Return the area under the curve of precision and recall [R], without interpolation, as scikit-learn does."""
    order = np.argsort(-scores, kind="stable")
    # A threshold selects all images of equal score or none.
    last = np.flatnonzero(np.append(scores[order][1:] != scores[order][:-1], True))
    selected = np.cumsum(counts[order], axis=0, dtype=np.float64)[last]
    true_positives = np.cumsum(counts[order] * truth[order, None], axis=0, dtype=np.float64)[last]
    precision = true_positives / np.maximum(selected, 1)
    found = (np.diff(true_positives, axis=0, prepend=0) * precision).sum(axis=0)
    return np.where(true_positives[-1] > 0, found / np.maximum(true_positives[-1], 1), np.nan)


def _curves(scores: Floats, truth: Flags) -> dict[str, Any] | None:
    """Return true positive rate by false positive rate, precision by recall, and the areas; None without both kinds."""
    if truth.all() or not truth.any():
        return None
    order = np.argsort(-scores, kind="stable")
    last = np.flatnonzero(np.append(scores[order][1:] != scores[order][:-1], True))
    true_positives = np.cumsum(truth[order])[last]
    recall = np.append(0.0, true_positives / true_positives[-1])
    false_positives = last + 1 - true_positives
    false_positive_rate = np.append(0.0, false_positives / false_positives[-1])
    precision = true_positives / (last + 1)
    highest = np.maximum.accumulate(precision[::-1])[::-1]
    return {
        "true_positive_rate": np.interp(COCO_RECALL, false_positive_rate, recall).round(4).tolist(),
        "precision": highest[np.searchsorted(recall[1:], COCO_RECALL, side="left")].round(4).tolist(),
        "AUC": round(float(np.sum(np.diff(false_positive_rate) * (recall[1:] + recall[:-1]) / 2)), 6),
        "AP": round(float(np.sum(np.diff(recall) * precision)), 6),
    }
