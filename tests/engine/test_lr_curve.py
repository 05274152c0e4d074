import math

import numpy as np
import pytest

from visionkit.engine.lr_curve import LRCurve, smooth, suggest_lr


def curve(shape, noise=0.01, steps=100, planned=100):
    """A curve from 1e-6 to 10 with losses `shape(log10 of the learning rate)`."""
    lrs = np.logspace(-6, 1, planned)[:steps]
    losses = shape(np.log10(lrs)) + noise * np.random.default_rng(0).standard_normal(steps)
    return LRCurve(lrs, losses, planned)


def valley(log_lr):
    """A loss of 3 that falls to 1 around a learning rate of 0.01."""
    return 3 - 2 * np.exp(-((log_lr + 2) ** 2))


def test_the_suggestion_is_the_learning_rate_at_which_the_loss_has_almost_fallen():
    found = suggest_lr(curve(valley))
    assert found.lowest == pytest.approx(0.01, rel=0.3)
    assert found.lr == pytest.approx(10 ** -(2 + math.sqrt(-math.log(0.95))), rel=0.3)
    assert f"95% of the fall is over at {found.lr:g}" in found.reason


@pytest.mark.parametrize(("left", "right"), [(1.0, 1.05), (1.05, 1.0)])
def test_the_left_end_of_a_wide_basin_is_suggested(left, right):
    """The losses from 0.001 to 0.3 are nearly equal, so the smallest one is at either end."""
    found = suggest_lr(curve(lambda log_lr: np.interp(log_lr, [-5, -3, -0.5, 0.5], [3, left, right, 3])))
    assert found.lr == pytest.approx(0.001, rel=0.5)
    assert (found.lowest < 0.02) == (left < right)


@pytest.mark.parametrize("noise", [0.05, 0.5])
def test_noise_alone_is_no_minimum(noise):
    found = suggest_lr(curve(lambda log_lr: np.full_like(log_lr, 2.0), noise))
    assert found.lr is None
    assert found.reason.startswith("no clear minimum: the loss falls by")


def test_a_fall_that_is_small_beside_the_noise_is_no_minimum():
    assert suggest_lr(curve(valley, noise=0.1)).lr is not None
    assert suggest_lr(curve(valley, noise=4.0)).lr is None


def test_a_loss_that_never_rises_has_no_minimum():
    found = suggest_lr(curve(lambda log_lr: 3 - 0.3 * (log_lr + 6)))
    assert found.lr is None
    assert "raise --max" in found.reason


def test_divergence_after_the_minimum_counts_as_a_rise():
    falling = curve(lambda log_lr: 3 - 0.3 * (log_lr + 6), steps=60)
    assert suggest_lr(falling).lowest == pytest.approx(falling.lrs[-1], rel=0.5)
    assert suggest_lr(falling._replace(planned=60)).lr is None


def test_a_huge_loss_of_divergence_does_not_move_the_minimum():
    calm = curve(valley)
    wild = calm._replace(losses=np.where(calm.lrs > 0.5, 1e6, calm.losses))
    assert suggest_lr(wild).lr == pytest.approx(suggest_lr(calm).lr, rel=0.01)
    assert smooth(wild).max() < 10


def test_a_few_steps_suggest_nothing():
    found = suggest_lr(curve(valley, steps=15))
    assert found.lr is None
    assert "lower --min" in found.reason
