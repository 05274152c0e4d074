import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from visionkit.ops.hellinger import squared_hellinger

MEANS = st.floats(-5, 5)
VARIANCES = st.floats(0.01, 10)


def distance(*numbers):
    return squared_hellinger(*(torch.tensor(number, dtype=torch.float64) for number in numbers)).item()


@given(MEANS, VARIANCES, MEANS, VARIANCES)
def test_it_is_the_integral(mean, variance, other_mean, other_variance):
    x = torch.linspace(-40, 40, 20_001, dtype=torch.float64)
    densities = [
        torch.exp(-((x - m) ** 2) / (2 * v)) / math.sqrt(2 * math.pi * v)
        for m, v in ((mean, variance), (other_mean, other_variance))
    ]
    by_hand = (densities[0].sqrt() - densities[1].sqrt()).square().sum() * (x[1] - x[0]) / 2
    assert distance(mean, variance, other_mean, other_variance) == pytest.approx(by_hand.item(), abs=1e-4)
    assert distance(other_mean, other_variance, mean, variance) == distance(mean, variance, other_mean, other_variance)


def test_channels_that_never_vary():
    assert distance(1, 0, 1, 0) == 0
    assert distance(1, 0, 2, 0) == 1
    assert distance(1, 0, 1, 3) == 1, "a point and a spread have nothing in common"
