"""What a metric returns for a whole set of images: values over all classes and values per class."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class MetricResults:
    """Metrics of a set of images; a value that is not defined, such as the AP of a class without objects, is NaN.

    Attributes:
        overall: metrics over all classes, by name.
        per_class: metrics of each class, by the name of the metric and then by that of the class.
        extras: further results as plain values, such as a confusion matrix.

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

    def __or__(self, other: "MetricResults") -> "MetricResults":
        """Return the results of both; where both have a metric, that of `other`."""
        return MetricResults(self.overall | other.overall, self.per_class | other.per_class, self.extras | other.extras)

    def with_prefix(self, prefix: str) -> "MetricResults":
        """Return the results with `prefix` before the name of every metric and extra."""
        return MetricResults(
            {f"{prefix}{name}": value for name, value in self.overall.items()},
            {f"{prefix}{name}": values for name, values in self.per_class.items()},
            {f"{prefix}{name}": value for name, value in self.extras.items()},
        )

    def part(self, prefix: str) -> "MetricResults":
        """Return the results whose names start with `prefix`, without it."""
        return MetricResults(*(_part(values, prefix) for values in (self.overall, self.per_class, self.extras)))

    def defined(self) -> dict[str, float]:
        """Return the metrics over all classes that are not NaN."""
        return {name: value for name, value in self.overall.items() if not math.isnan(value)}

    def to_dict(self) -> dict[str, Any]:
        """Return the results as plain values for JSON, which has no NaN: an undefined value is None."""
        per_class = {name: _without_nan(values) for name, values in self.per_class.items()}
        return {"overall": _without_nan(self.overall), "per_class": per_class, **self.extras}


def _part(values: dict[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def per_class_values(class_names: Sequence[str], values: Iterable[float]) -> dict[str, float]:
    """Return one metric's values [K], an array, tensor or list, by the names of the classes."""
    return {name: float(value) for name, value in zip(class_names, values, strict=True)}


def _without_nan(values: dict[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in values.items()}
