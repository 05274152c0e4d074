"""Threshold of a score below which an image is suspect, chosen with simulated faults."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MOST_FALSE = 0.015
"""Largest share of the images without a fault that are suspects. Several checks share the 5 % that a person may look
at in vain."""

USUAL_FAULTS = 0.05
"""Share of images with a fault at which a suspect must be a fault rather than not. Northcutt et al. 2021 ("Pervasive
Label Errors in Test Sets") found 3.4 % wrong labels on average, and 6 % in ImageNet."""

MOST_FAULTS = 0.1
"""Largest share of faults that is plausible. If even the best threshold flags more, most suspects are false."""

LEAST_FOUND = 0.3
"""Smallest share of simulated faults for which suspects are reported. Below it, the scores say nothing."""


ENOUGH_FOUND = 0.95
"""Share of simulated faults from which a laxer threshold finds hardly more faults, but more false suspects."""


class SuspectThreshold(NamedTuple):
    """Threshold of a score, and what it finds.

    Attributes:
        threshold: scores below are suspect; minus infinity if no threshold is good enough.
        found: share of the simulated faults below it.
        flagged: share of the images below it.
    """

    threshold: float
    found: float
    flagged: float

    def describe(self, what: str) -> str:
        """Return what the threshold finds, in words; `what` is what is wrong ("classes")."""
        if not np.isfinite(self.threshold):
            return f"wrong {what} cannot be told here: the model is not good enough"
        found, flagged = 100 * self.found, 100 * self.flagged
        return f"finds {found:.0f} % of simulated wrong {what}, suspects in {flagged:.1f} % of the images"


def choose_threshold(
    scores: NDArray[np.floating],
    owners: NDArray[np.int64],
    simulated: NDArray[np.floating],
    images: int,
    highest: float = np.inf,
) -> SuspectThreshold:
    """Return the laxest threshold with few false suspects.

    An image is flagged if the score of one of its examples is below the threshold. The flagged images are faults and
    false suspects. The share of faults is at most the smallest ratio of flagged images to found simulated faults over
    all thresholds, because real faults are found as often as simulated ones. The rest are false suspects. They must be
    at most `MOST_FALSE` of the images, and fewer than the faults that would be found if `USUAL_FAULTS` of the images
    had one.

    Args:
        scores: [N], score of each example, the lower the more suspect.
        owners: int64 [N], index of the image of each example.
        simulated: [M], scores of simulated faults.
        images: number of images, also of those without examples.
        highest: score from which nothing is suspect, whatever the simulated faults are.

    Example:
        >>> import numpy as np
        >>> from visionkit.data.stats.suspect_threshold import choose_threshold
        >>> scores = np.array([*np.linspace(5, 9, 98), -3.0, -4.0])
        >>> chosen = choose_threshold(scores, np.arange(100), np.linspace(-5, 1, 50), 100)
        >>> int((scores < chosen.threshold).sum())
        2
    """
    lowest = np.full(images, np.inf)
    np.minimum.at(lowest, owners, scores)
    if len(simulated):
        highest = min(highest, float(np.quantile(simulated, ENOUGH_FOUND)))
    candidates = np.append(np.sort(lowest[lowest < highest]), highest)
    flagged = np.arange(len(candidates)) / max(images, 1)  # images strictly below each candidate
    found = np.searchsorted(np.sort(simulated), candidates, side="left") / max(len(simulated), 1)
    informative = found >= LEAST_FOUND
    if not informative.any():
        return SuspectThreshold(-np.inf, 0.0, 0.0)
    faults = float((flagged[informative] / found[informative]).min())
    if faults > MOST_FAULTS:
        return SuspectThreshold(-np.inf, 0.0, 0.0)
    false = flagged - faults * found
    good = np.flatnonzero((found >= LEAST_FOUND) & (false <= MOST_FALSE) & (false <= USUAL_FAULTS * found))
    if not len(good):
        return SuspectThreshold(-np.inf, 0.0, 0.0)
    last = int(good[-1])
    return SuspectThreshold(float(candidates[last]), float(found[last]), float(flagged[last]))
