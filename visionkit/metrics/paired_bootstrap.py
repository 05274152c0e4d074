"""Paired bootstrap: is the difference of two models on the same images more than chance?

Both models get the same resamples, so that what is easy or hard about an image does not count
(Efron and Tibshirani 1993, chapters 13 and 16).
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visionkit.errors import DataError
from visionkit.metrics.bootstrap import LEVEL, MIN_DEFINED, RESAMPLES, counts_with_original, expanded_tail
from visionkit.metrics.results import Interval
from visionkit.metrics.scored_images import ScoredImages

Floats = NDArray[np.float64]

SIGNIFICANT = 0.05
"""Largest p value of a difference that is called significant."""

STANDARD_ERRORS = 1.96 + 0.84
"""Size of a difference that is found significant in 80 % of test sets, in standard errors (Cohen 1988, section 2.4)."""

ROUNDING = 1e-9
"""Size of differences that are rounding errors."""


class Difference(NamedTuple):
    """Difference of a metric of two models on the same images.

    Attributes:
        first, second: the metric of each model.
        difference: second minus first.
        interval: 95 % confidence interval of the difference.
        p: two-sided p value of no difference.
        images_needed: number of images that would show a difference of this size in 80 % of the cases, if it is not
            significant with these images; None if it is, or if there is no difference at all.
    """

    first: float
    second: float
    difference: float
    interval: Interval
    p: float
    images_needed: int | None

    @property
    def is_significant(self) -> bool:
        """Whether the difference is more than chance."""
        return self.p <= SIGNIFICANT


@dataclass
class Comparison:
    """Differences of two models.

    Attributes:
        overall: differences of the metrics over all classes by name.
        per_class: differences by the name of the metric and then by that of the class.
        image_scores: scores of each image with both models, [2, I]; see `ScoredImages.image_scores`.
        image_ids: id of each image.
    """

    overall: dict[str, Difference]
    per_class: dict[str, dict[str, Difference]]
    image_scores: Floats
    image_ids: list[int | str]


def compare_scored(first: ScoredImages, second: ScoredImages, resamples: int = RESAMPLES, seed: int = 0) -> Comparison:
    """Return the differences of the metrics that both models have.

    Args:
        first: images scored with one model.
        second: the same images, scored with the other one.
        resamples: number of resamples.
        seed: seed of the random numbers.

    Raises:
        DataError: the images, classes or kinds of labels are not the same, or there are fewer than two images.
    """
    if type(first) is not type(second):
        raise DataError("two models are compared on labels of one kind: one or several classes per image, not both")
    if first.image_ids != second.image_ids or first.class_names != second.class_names:
        raise DataError("two models are compared on the same images and classes, but these differ")
    if len(first) < 2:
        raise DataError(f"a comparison needs two or more images, and there are {len(first)}")
    images, counts = len(first), counts_with_original(len(first), resamples, seed)
    one, other = first.resample(counts), second.resample(counts)
    per_class = {
        name: _differences(values, other.per_class[name], images)
        for name, values in one.per_class.items()
        if name in other.per_class
    }
    scores = np.stack([first.image_scores, second.image_scores])
    return Comparison(_differences(one.overall, other.overall, images), per_class, scores, first.image_ids)


def find_difference(first: Floats, second: Floats, images: int) -> Difference | None:
    """Return the difference of a metric.

    Args:
        first: metric of the first model in the images themselves and then in R resamples, [1 + R].
        second: metric of the second model.
        images: number of images.

    Returns:
        The difference; None if the metric is not defined for one of the models, or not in a tenth of the resamples.

    Example:
        >>> import numpy as np
        >>> from visionkit.metrics.paired_bootstrap import find_difference
        >>> resampled = np.random.default_rng(0).normal(0.5, 0.1, 1001)
        >>> found = find_difference(resampled, resampled + 0.01, images=100)
        >>> round(found.difference, 3), found.is_significant
        (0.01, True)
    """
    differences = second - first
    measured, resampled = float(differences[0]), differences[1:]
    resampled = resampled[~np.isnan(resampled)]
    if math.isnan(measured) or len(resampled) < MIN_DEFINED * (len(differences) - 1):
        return None
    around = resampled - resampled.mean()
    tail = expanded_tail(images)
    low, high = np.quantile(around, [tail, 1 - tail]) + measured
    normal = NormalDist()
    wide = around * normal.inv_cdf(tail) / normal.inv_cdf((1 - LEVEL) / 2)  # as wide as the interval
    as_large = np.count_nonzero(np.abs(wide) >= abs(measured) - ROUNDING)
    # Swapping the models of some images gives no more than 2^images differences, half of them by their size.
    p = max(float(as_large + 1) / (len(wide) + 1), 2.0 ** (1 - images))
    needed = None
    if p > SIGNIFICANT and abs(measured) > ROUNDING:
        needed = max(math.ceil(images * (STANDARD_ERRORS * wide.std() / measured) ** 2), images + 1)
    return Difference(float(first[0]), float(second[0]), measured, Interval(float(low), float(high)), p, needed)


def _differences(first: dict[str, Floats], second: dict[str, Floats], images: int) -> dict[str, Difference]:
    found = {name: find_difference(first[name], second[name], images) for name in first if name in second}
    return {name: difference for name, difference in found.items() if difference is not None}
