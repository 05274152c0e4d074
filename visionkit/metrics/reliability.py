"""Reliability: how well confidences agree with the share of predictions that are correct (Guo et al. 2017)."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BINS = 15
"""Number of bins (Guo 2017, section 3)."""


class ReliabilityBin(NamedTuple):
    """Predictions with a confidence in (low, high]: mean confidence, share of correct ones, and number."""

    low: float
    high: float
    confidence: float
    accuracy: float
    predictions: int


class Reliability(NamedTuple):
    """Expected calibration error, and the bins with predictions."""

    error: float
    bins: list[ReliabilityBin]

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return {"error": None if np.isnan(self.error) else self.error, "bins": [row._asdict() for row in self.bins]}


def find_reliability(confidences: Floats, correct: NDArray[np.bool_], bins: int = BINS) -> Reliability:
    """Return the expected calibration error (equation 3) and the bins of the reliability diagram.

    Args:
        confidences: 0..1, [N].
        correct: [N].
        bins: number of bins of equal width.

    Example:
        >>> import numpy as np
        >>> from visionkit.metrics.reliability import find_reliability
        >>> found = find_reliability(np.array([1.0, 0.95]), np.array([True, False]))
        >>> round(found.error, 3), found.bins[0].predictions
        (0.475, 2)
    """
    edges = np.linspace(0, 1, bins + 1)
    rows = np.searchsorted(edges[1:-1], confidences, side="left")
    counts = np.bincount(rows, minlength=bins)
    confidence, accuracy = (
        np.bincount(rows, weights=values, minlength=bins) / np.maximum(counts, 1) for values in (confidences, correct)
    )
    total = counts.sum()
    error = float((counts * np.abs(confidence - accuracy)).sum() / total) if total else float("nan")
    columns = (edges[:-1], edges[1:], confidence, accuracy, counts)
    found = [ReliabilityBin(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]
    return Reliability(error, [row for row in found if row.predictions])
