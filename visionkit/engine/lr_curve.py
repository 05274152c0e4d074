"""Losses over a rising learning rate, and the learning rate that they suggest."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WIDTH_SHARE = 0.03
"""Standard deviation of the Gaussian that smooths the losses, as a share of the steps."""

LEAST_WIDTH, LEAST_START = 2.0, 5
"""Smallest standard deviation, and smallest number of steps before training, in steps."""

START_SHARE = 0.1
"""Share of the steps, at the smallest learning rates, whose mean is the loss before training."""

HIGHEST = 2.0
"""Ratio to the loss before training at which losses are cut, so that those of divergence do not blur the minimum."""

CLEAR = 4.0
"""Number of standard errors by which the loss must fall to the minimum, and rise after it."""

FALLEN = 0.95
"""Share of the fall of the loss that is over at the suggested learning rate; see docs/tune.md for measurements."""

LEAST_STEPS = 20
"""Smallest number of steps from which a learning rate is suggested."""


class LRCurve(NamedTuple):
    """Losses of the steps of a learning rate range test.

    Attributes:
        lrs: values of `optimizer.lr`, rising, float64 [N].
        losses: loss of the batches of each step, before the weights change, float64 [N].
        planned: number of steps that were planned; there are fewer if the loss diverged.
    """

    lrs: NDArray[np.float64]
    losses: NDArray[np.float64]
    planned: int


class LRSuggestion(NamedTuple):
    """What a curve suggests.

    Attributes:
        lr: suggested `optimizer.lr`; None if the curve has no clear minimum.
        lowest: learning rate of the smallest loss; None without a clear minimum.
        reason: how sure this is, or why nothing is suggested, in a sentence.
    """

    lr: float | None
    lowest: float | None
    reason: str


def smooth(curve: LRCurve) -> NDArray[np.float64]:
    """Return the losses, cut at `HIGHEST`, as weighted means over their neighbors on both sides, float64 [N]."""
    weights = _weights(curve)
    return weights @ _cut(curve) / weights.sum(1)


def suggest_lr(curve: LRCurve) -> LRSuggestion:
    """Return the learning rate that a curve suggests: the smallest at which the loss has almost fallen to its minimum.

    If the losses around the minimum are nearly equal, its own learning rate is arbitrary. Nothing is suggested unless
    the loss clearly falls, and clearly rises again, by `CLEAR` standard errors.
    """
    if len(curve.losses) < LEAST_STEPS:
        return _nothing(f"the loss diverged after {len(curve.losses)} steps: lower --min")
    smoothed = smooth(curve)
    lowest = int(smoothed.argmin())
    error = _standard_error(curve, lowest)
    fall = _start(curve) - smoothed[lowest]
    if not fall > CLEAR * error:
        return _nothing(
            f"the loss falls by {fall:.3g}, and its noise is {error:.2g}: give more --steps, or larger batches"
        )
    diverged = len(curve.losses) < curve.planned
    if not diverged and not smoothed[lowest:].max() - smoothed[lowest] > CLEAR * error:
        return _nothing(f"the loss does not rise up to the largest learning rate {curve.lrs[-1]:.2g}: raise --max")
    lr = float(f"{curve.lrs[np.argmax(smoothed <= _start(curve) - FALLEN * fall)]:.2g}")
    reason = (
        f"the loss falls from {_start(curve):.3g} to {smoothed[lowest]:.3g} at {curve.lrs[lowest]:.2g}, "
        f"{fall / error:.0f} times its noise, and rises above that; {FALLEN:.0%} of the fall is over at {lr:g}"
    )
    return LRSuggestion(lr, float(curve.lrs[lowest]), reason)


def _nothing(reason: str) -> LRSuggestion:
    return LRSuggestion(None, None, f"no clear minimum: {reason}")


def _start(curve: LRCurve) -> float:
    """Return the loss before training."""
    return float(curve.losses[: _start_steps(curve)].mean())


def _start_steps(curve: LRCurve) -> int:
    return max(int(curve.planned * START_SHARE), LEAST_START)


def _cut(curve: LRCurve) -> NDArray[np.float64]:
    """Return the losses without those of divergence."""
    start = _start(curve)
    return np.minimum(curve.losses, start + (HIGHEST - 1) * abs(start))


def _weights(curve: LRCurve) -> NDArray[np.float64]:
    """Return the weights with which each loss is part of each mean, [N, N]."""
    steps = np.arange(len(curve.losses))
    distances = (steps[:, None] - steps) / max(curve.planned * WIDTH_SHARE, LEAST_WIDTH)
    return np.exp(-0.5 * distances**2)


def _standard_error(curve: LRCurve, lowest: int) -> float:
    """Return the standard error of the difference between the loss at the start and that at the minimum."""
    until = max(lowest + 1, _start_steps(curve))
    noise = np.sqrt(np.mean(np.diff(_cut(curve)[:until]) ** 2) / 2)  # a trend between two steps is small
    weights = _weights(curve)[lowest]
    of_mean = np.sqrt((weights**2).sum()) / weights.sum()
    return float(noise * np.hypot(of_mean, 1 / np.sqrt(_start_steps(curve))))
