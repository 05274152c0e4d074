"""Robust distances of values from the middle of their class, which faulty values hardly change."""

import numpy as np
from numpy.typing import NDArray

TO_SIGMA = 1.4826
"""Standard deviation of a normal distribution as a multiple of its median absolute deviation."""

MIN_MEMBERS = 20
"""Smallest number of members from which a class has a middle and a spread of its own. Those of all values are used for
smaller classes: the spread of ten values is off by a quarter on average."""


def robust_scores(
    values: NDArray[np.floating], labels: NDArray[np.int64], smallest_spread: float
) -> NDArray[np.float64]:
    """Return by how many robust standard deviations each value is above the median of its class, float64 [N].

    Args:
        values: [N], finite.
        labels: int64 [N], class of each value.
        smallest_spread: lower bound of the standard deviation, for classes whose members are nearly alike.

    Example:
        >>> import numpy as np
        >>> from visionkit.data.stats.robust_outliers import robust_scores
        >>> values = np.array([*np.linspace(-1, 1, 41), 9.0])
        >>> int(robust_scores(values, np.zeros(42, np.int64), 0.1).argmax())
        41
    """
    scores = np.zeros(len(values))
    for label in np.unique(labels):
        members = labels == label
        reference = values[members] if members.sum() >= MIN_MEMBERS else values
        median = np.median(reference)
        spread = TO_SIGMA * np.median(np.abs(reference - median))
        scores[members] = (values[members] - median) / max(spread, smallest_spread)
    return scores
