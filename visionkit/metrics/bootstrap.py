"""Bootstrap over images: metrics of resampled sets of images, and the confidence intervals they give.

An image that a resample draws n times counts n times, so a resample is a count per image. The metrics of all resamples
are computed at once from these counts (Efron and Tibshirani 1993, chapter 13).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from visionkit.metrics.results import Interval, Intervals

Floats = NDArray[np.float64]
Counts = NDArray[np.float32]
"""How often each resample draws each image, [I, R]."""

RESAMPLES, LEVEL = 1000, 0.95
"""Usual number of resamples, and level of the intervals."""

MIN_DEFINED = 0.9
"""Least share of the resamples in which a metric with an interval is defined."""


@dataclass
class ResampledMetrics:
    """Metrics of R resamples; NaN where a metric is not defined, as for a class that a resample does not have.

    Attributes:
        overall: float [R] by the name of the metric.
        per_class: float [R] by the name of the metric and then by that of the class.
    """

    overall: dict[str, Floats] = field(default_factory=dict)
    per_class: dict[str, dict[str, Floats]] = field(default_factory=dict)

    def __or__(self, other: "ResampledMetrics") -> "ResampledMetrics":
        """Return the metrics of both."""
        return ResampledMetrics(self.overall | other.overall, self.per_class | other.per_class)

    def with_prefix(self, prefix: str) -> "ResampledMetrics":
        """Return the metrics with `prefix` before their names."""
        return ResampledMetrics(
            {f"{prefix}{name}": values for name, values in self.overall.items()},
            {f"{prefix}{name}": values for name, values in self.per_class.items()},
        )

    def intervals(self, images: int) -> Intervals:
        """Return the 95 % confidence interval of every metric, see `interval`.

        Args:
            images: number of images. The first value of each metric is that of the images themselves.
        """
        return Intervals(
            _defined({name: interval(values[1:], values[0], images) for name, values in self.overall.items()}),
            {
                name: _defined({of: interval(values[1:], values[0], images) for of, values in columns.items()})
                for name, columns in self.per_class.items()
            },
        )


def draw_counts(images: int, resamples: int = RESAMPLES, seed: int = 0) -> Counts:
    """Return how often each of `resamples` samples with replacement draws each image.

    Args:
        images: number of images I.
        resamples: number of resamples R.
        seed: seed of the random numbers; the same seed and number of images give the same counts.

    Returns:
        float32 [I, R]; each column adds up to I.

    Example:
        >>> from visionkit.metrics.bootstrap import draw_counts
        >>> draw_counts(4, resamples=3).sum(axis=0).tolist()
        [4.0, 4.0, 4.0]
    """
    random = np.random.default_rng(seed)
    return random.multinomial(images, np.full(images, 1 / images), size=resamples).T.astype(np.float32)


def counts_with_original(images: int, resamples: int = RESAMPLES, seed: int = 0) -> Counts:
    """Return the counts of `draw_counts` after a first column in which each image counts once, [I, 1 + R]."""
    return np.concatenate([np.ones((images, 1), np.float32), draw_counts(images, resamples, seed)], axis=1)


def by_class(class_names: Sequence[str], columns: Mapping[str, Iterable[Floats]]) -> dict[str, dict[str, Floats]]:
    """Return metrics with a value [R] for each class by the name of the metric and then by that of the class."""
    return {name: dict(zip(class_names, values, strict=True)) for name, values in columns.items()}


def interval(values: Floats, measured: float, images: int) -> Interval | None:
    """Return the 95 % confidence interval of a metric from its values in all resamples.

    Percentiles of few images are too close to each other, so those of an expanded interval are used (Hesterberg 2015,
    section 3.3). Repeated images raise an interpolated AP a little, so the interval is moved by the difference of the
    measured value and the mean of the resamples. It therefore holds the mean value of test sets of this size.

    Args:
        values: values of the metric, 0..1, in R resamples.
        measured: value in the images themselves.
        images: number of images I.

    Returns:
        The interval; None if the metric is not defined, or not in a tenth of the resamples.

    Example:
        >>> import numpy as np
        >>> from visionkit.metrics.bootstrap import interval
        >>> low, high = interval(np.linspace(0.4, 0.6, 1001), measured=0.5, images=1000)
        >>> round(low, 3), round(high, 3)
        (0.405, 0.595)
    """
    defined = values[~np.isnan(values)]
    if np.isnan(measured) or len(defined) < MIN_DEFINED * len(values):
        return None
    tail = expanded_tail(images)
    low, high = np.quantile(defined, [tail, 1 - tail]) + measured - defined.mean()
    return Interval(max(float(low), 0.0), min(float(high), 1.0))


def mean_of_defined(values: Floats) -> Floats:
    """Return the mean over the first axis without NaN of values [K, ...]; NaN where no value is defined."""
    is_defined = ~np.isnan(values)
    number = is_defined.sum(axis=0)
    total = np.where(is_defined, values, 0).sum(axis=0)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def expanded_tail(images: int) -> float:
    """Return the share of the resamples below the interval of `images` images: 0.025 for many, less for few.

    The quantile of Student's t distribution is that of a series in 1 / degrees of freedom (Abramowitz and Stegun,
    26.7.5).
    """
    normal, freedom = NormalDist(), max(images - 1, 1)
    z = normal.inv_cdf((1 + LEVEL) / 2)
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return normal.cdf(-t * math.sqrt(images / freedom))


def _defined(intervals: Mapping[str, Interval | None]) -> dict[str, Interval]:
    return {name: found for name, found in intervals.items() if found is not None}
