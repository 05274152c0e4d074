"""Score thresholds of a class: that of the highest F1, and precision and recall at a threshold."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Numbers = NDArray[np.floating[Any]]

SCORED_SPLIT, VAL_SPLIT = "scored split", "val"
"""Images that score thresholds were chosen on: `thresholds_from` in metrics.json."""


class ThresholdPoint(NamedTuple):
    """A score threshold with precision, recall and F1 there; NaN if they are not defined."""

    threshold: float
    precision: float
    recall: float
    f1: float


def precision_recall_f1(true_positives: Numbers, selected: Numbers, positives: Numbers) -> dict[str, Floats]:
    """Return precision, recall and F1 by name, from arrays of equal shape.

    Args:
        true_positives: number of predictions that are right.
        selected: number of predictions from the threshold on.
        positives: number of objects or images of the class. Nothing is defined without any.
    """
    exists = positives > 0
    return {
        "precision": np.where(exists & (selected > 0), true_positives / np.maximum(selected, 1), np.nan),
        "recall": np.where(exists, true_positives / np.maximum(positives, 1), np.nan),
        "F1": np.where(exists, 2 * true_positives / np.maximum(selected + positives, 1), np.nan),
    }


def best_threshold(scores: Floats, correct: NDArray[np.bool_], positives: int) -> ThresholdPoint:
    """Return the point of a class with the highest F1, and the highest threshold of equal ones.

    Args:
        scores: score of each prediction [N].
        correct: whether each prediction is a true positive [N].
        positives: number of objects or images of the class.
    """
    if not positives:
        return ThresholdPoint(np.nan, np.nan, np.nan, np.nan)
    if not len(scores):
        return ThresholdPoint(np.nan, np.nan, 0.0, 0.0)
    order = np.argsort(-scores)
    ranked = scores[order]
    # A threshold selects all boxes of equal score or none: only the last of them is a point of the curve.
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    true_positives = np.cumsum(correct[order])[last]
    f1 = 2 * true_positives / (last + 1 + positives)
    best = int(f1.argmax())
    selected = int(last[best]) + 1
    precision, recall = true_positives[best] / selected, true_positives[best] / positives
    return ThresholdPoint(float(ranked[last[best]]), float(precision), float(recall), float(f1[best]))


def at_threshold(scores: Floats, correct: NDArray[np.bool_], positives: int, threshold: float | None) -> ThresholdPoint:
    """Return the point of a class at a threshold; None selects no prediction. See `best_threshold`."""
    chosen = np.nan if threshold is None else threshold
    if not positives:
        return ThresholdPoint(chosen, np.nan, np.nan, np.nan)
    selected = scores >= chosen
    number, true_positives = int(selected.sum()), int(correct[selected].sum())
    precision = true_positives / number if number else np.nan
    return ThresholdPoint(chosen, precision, true_positives / positives, 2 * true_positives / (number + positives))
