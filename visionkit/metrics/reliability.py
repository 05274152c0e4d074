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
    rows = np.searchsorted(np.linspace(0, 1, bins + 1)[1:-1], confidences, side="left")
    counts = np.bincount(rows, minlength=bins)
    sums = [np.bincount(rows, values.astype(np.float64), bins).astype(np.float64) for values in (correct, confidences)]
    return reliability_of_bins(counts, sums[0], sums[1])


def reliability_of_bins(counts: NDArray[Any], correct: Floats, confidences: Floats) -> Reliability:
    """Return the expected calibration error and the bins of the reliability diagram from sums.

    Args:
        counts: number of predictions in each of the bins, which have equal widths.
        correct: number of correct ones.
        confidences: sum of their confidences.
    """
    edges, counts = np.linspace(0, 1, len(counts) + 1), counts.astype(np.int64)
    total = counts.sum()
    error = float(np.abs(confidences - correct).sum() / total) if total else float("nan")
    confidence, accuracy = (sums / np.maximum(counts, 1) for sums in (confidences, correct))
    columns = (edges[:-1], edges[1:], confidence, accuracy, counts)
    found = [ReliabilityBin(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]
    return Reliability(error, [row for row in found if row.predictions])
