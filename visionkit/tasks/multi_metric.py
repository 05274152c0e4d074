"""Metrics of several heads, and one metric of all of them that selects a model."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

from visionkit.metrics.all_gather import all_gather_objects
from visionkit.metrics.base import EvaluationMetric
from visionkit.metrics.results import MetricResults

MEAN, CHANGE = "mean_metric", "relative_change"
"""Names of the metrics over all heads."""


class MultiMetric(nn.Module):
    """Metrics of several heads, as "head/metric", and a metric over the heads.

    That is `mean_metric`, the mean of the heads' main metrics; or `relative_change`, the mean relative change in
    percent against the metrics of single-task models (Vandenhende et al. 2021, equation 16), if these are given. Heads
    without images, and those whose metric is not defined for the images, are left out.

    Args:
        metrics: metric of each head.
        main_metrics: name of the main metric of each head. Higher is better for all of them.
        reference: main metric of each head's single-task model; empty if they are not known.
    """

    def __init__(
        self,
        metrics: Mapping[str, EvaluationMetric[Any, Any]],
        main_metrics: Mapping[str, str],
        reference: Mapping[str, float],
    ) -> None:
        super().__init__()
        self.metrics = dict(metrics)
        self.modules_of_metrics = nn.ModuleList(metric for metric in metrics.values() if isinstance(metric, nn.Module))
        self.main_metrics, self.reference = dict(main_metrics), dict(reference)
        self._own_heads: set[str] = set()

    @property
    def main_metric(self) -> str:
        """See `EvaluationMetric.main_metric`."""
        return CHANGE if self.reference else MEAN

    def update(self, predictions: Mapping[str, Any], targets: Mapping[str, Any]) -> None:
        """Add a batch of each head."""
        for name, of_head in predictions.items():
            self.metrics[name].update(of_head, targets[name])
            self.add_head(name)

    def add_head(self, name: str) -> None:
        """Note that images of a head were added to its metric."""
        self._own_heads.add(name)

    def heads_with_images(self) -> list[str]:
        """Return the heads of which a process has images since the last `reset`; every process must call this."""
        found = set().union(*all_gather_objects(self._own_heads))
        return [name for name in self.metrics if name in found]

    def compute(self) -> MetricResults:
        """See `EvaluationMetric.compute`."""
        return self.combined({name: self.metrics[name].compute() for name in self.heads_with_images()})

    def combined(self, heads: Mapping[str, MetricResults]) -> MetricResults:
        """Return the results of all heads as one, with the metric over the heads first."""
        values = {name: of_head.overall[self.main_metrics[name]] for name, of_head in heads.items()}
        results = MetricResults({MEAN: _mean_of_defined(values.values())})
        if self.reference:
            changes = _mean_of_defined(value / self.reference[name] - 1 for name, value in values.items())
            results.overall[CHANGE] = 100 * changes
        for name, of_head in heads.items():
            results |= of_head.with_prefix(f"{name}/")
        return results

    def reset(self) -> None:
        """Remove all images."""
        self._own_heads = set()
        for metric in self.metrics.values():
            metric.reset()


def _mean_of_defined(values: Iterable[float]) -> float:
    """Return the mean of the values that are not NaN; NaN if there is none."""
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else math.nan
