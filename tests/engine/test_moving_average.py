import math

import pytest
import torch
from lightning.pytorch import LightningModule
from torch import nn

from visionkit.engine.moving_average import MovingAverage, decay_at


class Module(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.norm = nn.BatchNorm1d(2)


def averages(values, decay):
    """The average of a weight and of a buffer after each value."""
    module, seen = Module(), []
    callback = MovingAverage(decay)
    callback.setup(None, module, "fit")
    for value in values:
        with torch.no_grad():
            module.layer.weight.fill_(value)
            module.norm.running_mean.fill_(value)
            module.norm.num_batches_tracked += 1
        callback._average_model.update_parameters(module)
        averaged = callback._average_model.module
        seen.append((averaged.layer.weight[0, 0].item(), averaged.norm.running_mean[0].item()))
    assert averaged.norm.num_batches_tracked == len(values)
    return seen


def expected(values, decay):
    average, seen = values[0], []
    for updates, value in enumerate(values):
        weight = decay_at(updates, decay) if updates else 0.0
        average = weight * average + (1 - weight) * value
        seen.append(average)
    return seen


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
def test_weights_and_buffers_follow_the_formula(decay):
    values = [1.0, 2.0, -3.0, 5.0, 0.25, 7.0]
    for average, (weight, buffer) in zip(expected(values, decay), averages(values, decay), strict=True):
        assert weight == pytest.approx(average, rel=1e-5)
        assert buffer == pytest.approx(average, rel=1e-5)


def test_the_average_of_a_constant_is_that_constant():
    value = torch.tensor(0.1).item()
    assert averages([value] * 50, 0.999)[-1] == (value, value)


def test_a_short_run_forgets_the_initial_weights():
    """150 steps: with a decay of 0.995 throughout, 47 % of the average would be the weights of the first step."""
    remaining = math.prod(decay_at(updates, 0.995) for updates in range(1, 150))
    assert 0.995**149 > 0.47
    assert remaining < 1e-9


def test_the_decay_of_a_long_run_is_that_of_the_recipe():
    assert decay_at(8_990, 0.999) == 0.999
    assert decay_at(8_900, 0.999) < 0.999
