"""Results of a metric for a whole set of images: values over all classes and per class, with their intervals."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

LOWER_IS_BETTER = frozenset({"calibration_error"})
"""Metrics that are better if they are lower; of all others, a higher value is better."""


class Interval(NamedTuple):
    """Confidence interval of a metric."""

    low: float
    high: float


@dataclass
class Intervals:
    """95 % confidence intervals of metrics.

    Attributes:
        overall: interval of metrics over all classes, by name.
        per_class: interval by the name of the metric and then by that of the class.
    """

    overall: dict[str, Interval] = field(default_factory=dict)
    per_class: dict[str, dict[str, Interval]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.overall or self.per_class)

    def __or__(self, other: "Intervals") -> "Intervals":
        """Return the intervals of both."""
        return Intervals(self.overall | other.overall, self.per_class | other.per_class)

    def with_prefix(self, prefix: str) -> "Intervals":
        """Return the intervals with `prefix` before the name of every metric."""
        return Intervals(_prefixed(self.overall, prefix), _prefixed(self.per_class, prefix))

    def part(self, prefix: str) -> "Intervals":
        """Return the intervals whose names start with `prefix`, without it."""
        return Intervals(_part(self.overall, prefix), _part(self.per_class, prefix))


@dataclass
class MetricResults:
    """Metrics of a set of images; a value that is not defined, such as the AP of a class without objects, is NaN.

    Attributes:
        overall: metrics over all classes, by name.
        per_class: metrics of each class, by the name of the metric and then by that of the class.
        extras: further results as plain values, such as a confusion matrix.
        intervals: 95 % confidence intervals of the metrics that have one.

    Example:
        >>> from visionkit.metrics.results import MetricResults
        >>> results = MetricResults({"AP": 0.5, "APs": float("nan")}, {"AP": {"cat": 0.4, "dog": 0.6}})
        >>> results.per_class["AP"]["dog"]
        0.6
        >>> results.to_dict()
        {'overall': {'AP': 0.5, 'APs': None}, 'per_class': {'AP': {'cat': 0.4, 'dog': 0.6}}}
    """

    overall: dict[str, float] = field(default_factory=dict)
    per_class: dict[str, dict[str, float]] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)
    intervals: Intervals = field(default_factory=Intervals)

    def __or__(self, other: "MetricResults") -> "MetricResults":
        """Return the results of both; where both have a metric, that of `other`."""
        return MetricResults(
            self.overall | other.overall,
            self.per_class | other.per_class,
            self.extras | other.extras,
            self.intervals | other.intervals,
        )

    def with_prefix(self, prefix: str) -> "MetricResults":
        """Return the results with `prefix` before the name of every metric and extra."""
        return MetricResults(
            _prefixed(self.overall, prefix),
            _prefixed(self.per_class, prefix),
            _prefixed(self.extras, prefix),
            self.intervals.with_prefix(prefix),
        )

    def part(self, prefix: str) -> "MetricResults":
        """Return the results whose names start with `prefix`, without it."""
        return MetricResults(
            _part(self.overall, prefix),
            _part(self.per_class, prefix),
            _part(self.extras, prefix),
            self.intervals.part(prefix),
        )

    def defined(self) -> dict[str, float]:
        """Return the metrics over all classes that are not NaN."""
        return {name: value for name, value in self.overall.items() if not math.isnan(value)}

    def to_dict(self) -> dict[str, Any]:
        """Return the results as plain values for JSON, which has no NaN: an undefined value is None."""
        per_class = {name: _without_nan(values) for name, values in self.per_class.items()}
        intervals = {"confidence_intervals": asdict(self.intervals)} if self.intervals else {}
        return {"overall": _without_nan(self.overall), "per_class": per_class, **intervals, **self.extras}


def _prefixed(values: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {f"{prefix}{name}": value for name, value in values.items()}


def _part(values: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def per_class_values(class_names: Sequence[str], values: Iterable[float]) -> dict[str, float]:
    """Return one metric's values [K], an array, tensor or list, by the names of the classes."""
    return {name: float(value) for name, value in zip(class_names, values, strict=True)}


def _without_nan(values: dict[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in values.items()}
