"""Scored images of a task: what confidence intervals, error analysis, reports and comparisons are made of."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from visionkit.metrics.bootstrap import RESAMPLES, Counts, ResampledMetrics, counts_with_original
from visionkit.metrics.image_ids import ImageId
from visionkit.metrics.results import Intervals, MetricResults


class ScoredImages(ABC):
    """Predictions and ground truth of I images, in the form that metrics are computed from.

    Args:
        image_ids: id of each image, sorted.
        class_names: K names in label order.
    """

    def __init__(self, image_ids: Sequence[ImageId], class_names: Sequence[str]) -> None:
        self.image_ids = list(image_ids)
        self.class_names = list(class_names)

    def __len__(self) -> int:
        return len(self.image_ids)

    @abstractmethod
    def resample(self, counts: Counts) -> ResampledMetrics:
        """Return the metrics of resampled images.

        Args:
            counts: how often each resample draws each image, [I, R].
        """

    @property
    @abstractmethod
    def image_scores(self) -> NDArray[np.float64]:
        """How good the predictions of each image are, 0..1 [I]; NaN for an image without anything to find."""

    def analysis(self) -> dict[str, Any]:
        """Return curves, calibration and errors as plain values for JSON."""
        return {}

    def added_to(self, results: MetricResults) -> MetricResults:
        """Return the results of these images with their analysis and confidence intervals."""
        return results | MetricResults(extras=self.analysis(), intervals=self.intervals())

    def intervals(self, resamples: int = RESAMPLES, seed: int = 0) -> Intervals:
        """Return the 95 % confidence intervals of the metrics; none if there are fewer than two images."""
        if len(self) < 2:
            return Intervals()
        return self.resample(counts_with_original(len(self), resamples, seed)).intervals(len(self))


class ScoredResults(NamedTuple):
    """The metrics of some images, and the images; None if there are none."""

    results: MetricResults
    scored: ScoredImages | None
