"""The names of the metrics that a recipe's `evaluation.metric` knows."""

from collections.abc import Callable

from visionkit.metrics.records import DetectionMetric
from visionkit.registry import Registry

metrics: Registry[Callable[..., DetectionMetric]] = Registry("metric")
"""Each entry is called as `entry(class_names=..., category_ids=...)`."""
