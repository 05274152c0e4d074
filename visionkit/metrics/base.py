"""The interface that tasks expect of a metric."""

from typing import Any, Protocol, TypeVar

from visionkit.metrics.results import MetricResults

Predictions = TypeVar("Predictions", contravariant=True)
Targets = TypeVar("Targets", contravariant=True)


class EvaluationMetric(Protocol[Predictions, Targets]):
    """A metric of a whole set of images, which is updated with batches.

    In a distributed run every process must call `compute`; it returns the same results in all of them.
    """

    @property
    def main_metric(self) -> str:
        """Name of the metric over all classes that selects the best checkpoint by default; higher is better."""
        ...

    def update(self, predictions: Predictions, targets: Targets) -> None:
        """Add a batch."""
        ...

    def compute(self) -> MetricResults:
        """Return the metrics over all images that were added since the last `reset`."""
        ...

    def reset(self) -> Any:
        """Remove all images."""
        ...
