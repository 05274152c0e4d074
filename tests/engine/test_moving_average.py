import logging
import math
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import Callback
from torch import nn

from tests.helpers.small_classifier import small_classification
from tests.helpers.small_trainer import small_trainer
from visionkit.data.datamodule import VisionData
from visionkit.engine import moving_average
from visionkit.engine.callbacks import EMAOptions, make_callbacks
from visionkit.engine.loggers import make_loggers
from visionkit.engine.moving_average import AVERAGE, MovingAverage, decay_at
from visionkit.engine.time_budget import TimeBudget


class Module(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.norm = nn.BatchNorm1d(2)


def trainer_on(device):
    return SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device(device)))


def averages(values, decay):
    """The average of a weight and of a buffer after each value."""
    module, seen = Module(), []
    callback = MovingAverage(decay)
    callback.setup(trainer_on("cpu"), module, "fit")
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


EPOCHS = 8
NEVER = EMAOptions(start_step=1000)
"""Average that does not begin."""


@pytest.fixture
def behind(monkeypatch):
    """Averages stay at the weights of the first step."""
    monkeypatch.setattr(moving_average, "decay_at", lambda updates, decay: 1.0)


class FirstStep(Callback):
    """Keep the weights of the first step."""

    def on_train_batch_end(self, trainer, task, outputs, batch, index):
        if trainer.global_step == 1:
            state = task.state_dict()
            self.weights = {name: value.clone() for name, value in state.items() if value.is_floating_point()}


def fit(folder, ema, epochs=EPOCHS, more=(), resumed=None, **options):
    """Train on the images that are also validated, so that the trained weights are better than the initial ones."""
    split = {"split": "train", "count": 8, "size": 32, "min_object": 0.5, "max_objects": 1, "empty_share": 0.0}
    data = VisionData("shapes", splits={"train": split, "val": split}, batch_size=4, num_workers=0, required="label")
    task = small_classification(data.class_names)
    callbacks = [*make_callbacks(folder, task.monitor, ema), *more]
    logger = make_loggers(folder)
    options |= {"callbacks": callbacks, "logger": logger, "enable_checkpointing": True}
    trainer = small_trainer(max_epochs=epochs, **options)
    trainer.fit(task, data, ckpt_path=resumed, weights_only=True)
    return task


def saved(folder, name):
    return torch.load(folder / f"{name}.ckpt", weights_only=True)


def assert_equal(found, wanted):
    torch.testing.assert_close(found, wanted, rtol=0, atol=0)


def test_weights_that_are_better_than_the_average_are_saved(tmp_path, caplog, behind):
    caplog.set_level(logging.INFO, "visionkit")
    first = FirstStep()
    task = fit(tmp_path, EMAOptions(), more=[first])
    assert "the moving average is behind the weights: val/top1" in caplog.text
    for name in ("last", "best"):
        checkpoint = saved(tmp_path, name)
        assert_equal(checkpoint["state_dict"], checkpoint["current_model_state"])
        assert_equal(checkpoint["state_dict"], dict(task.state_dict()))
        assert checkpoint["visionkit"]["metrics"]["val/top1"] == pytest.approx(task.results.defined()["top1"])
        assert_equal({name: checkpoint[AVERAGE][name] for name in first.weights}, first.weights)


class Spoil(Callback):
    """Callback that removes the head from the current weights after every step, but not from their average."""

    def on_train_batch_end(self, trainer, task, outputs, batch, index):
        with torch.no_grad():
            task.network.head.fc.weight.zero_()


def test_an_average_that_is_better_than_the_weights_stays_saved(tmp_path, caplog):
    caplog.set_level(logging.INFO, "visionkit")

    class Lead(Spoil):
        def on_validation_end(self, trainer, task):
            trainer.callback_metrics["val/top1"] = torch.tensor(1.0)

    task = fit(tmp_path, EMAOptions(decay=0.5), epochs=2, more=[Lead()])
    assert "val/top1: moving average 1.0000, current weights" in caplog.text
    assert "behind" not in caplog.text
    checkpoint = saved(tmp_path, "last")
    assert AVERAGE not in checkpoint
    assert not checkpoint["current_model_state"]["pipeline.network.head.fc.weight"].any()
    assert_equal(checkpoint["state_dict"], dict(task.state_dict()))


def test_a_run_that_is_trained_further_has_both_weights(tmp_path, behind):
    """The average stays behind, so that the current weights are saved in its place."""
    ema = EMAOptions()
    fit(tmp_path / "parts", ema)
    assert AVERAGE in saved(tmp_path / "parts", "last")
    fit(tmp_path / "parts", ema, EPOCHS + 2, resumed=tmp_path / "parts" / "last.ckpt")
    fit(tmp_path / "whole", ema, EPOCHS + 2)
    parts, whole = saved(tmp_path / "parts", "last"), saved(tmp_path / "whole", "last")
    assert_equal(parts["current_model_state"], whole["current_model_state"])
    assert_equal(parts.get(AVERAGE, parts["state_dict"]), whole.get(AVERAGE, whole["state_dict"]))


@pytest.mark.parametrize("options", [{}, {"limit_val_batches": 0}])
def test_an_average_that_does_not_begin_is_that_of_the_current_weights(options, tmp_path):
    task = fit(tmp_path, NEVER, **options)
    checkpoint = saved(tmp_path, "last")
    assert_equal(checkpoint["state_dict"], checkpoint["current_model_state"])
    assert_equal(checkpoint["state_dict"], dict(task.state_dict()))
    if not options:
        plain = fit(tmp_path / "plain", None)
        assert task.results.overall == pytest.approx(plain.results.overall)
        best, expected = (saved(folder, "best") for folder in (tmp_path, tmp_path / "plain"))
        assert best["visionkit"]["metrics"]["val/top1"] == expected["visionkit"]["metrics"]["val/top1"]


def test_the_average_is_on_the_device_of_the_run():
    callback = MovingAverage(0.9)
    callback.setup(trainer_on("meta"), Module(), "fit")
    assert {value.device.type for value in callback._average_model.state_dict().values()} == {"meta"}


def test_the_average_of_a_network_in_bfloat16_has_its_own_precision(tmp_path):
    fit(tmp_path, EMAOptions(decay=0.9), epochs=2, precision="bf16-true")
    checkpoint, name = saved(tmp_path, "last"), "pipeline.network.head.fc.weight"
    current, average = (
        checkpoint["current_model_state"][name],
        checkpoint[AVERAGE if AVERAGE in checkpoint else "state_dict"][name],
    )
    assert (current.dtype, average.dtype) == (torch.bfloat16, torch.float32)
    assert 0 < (average - current).abs().max() < 0.1


def test_a_checkpoint_of_an_interrupted_validation_has_the_average_as_its_weights(tmp_path):
    class Fail(Callback):
        def on_validation_batch_start(self, trainer, task, batch, index, loader=0):
            self.average = {name: value.clone() for name, value in task.state_dict().items()}
            if trainer.current_epoch == 1:
                raise InterruptedError

    fail = Fail()
    with pytest.raises(InterruptedError):
        fit(tmp_path, EMAOptions(decay=0.9), more=[fail])
    checkpoint = saved(tmp_path, "last")
    assert checkpoint["global_step"] == 4
    assert_equal(checkpoint["state_dict"], fail.average)
    name = "pipeline.network.head.fc.weight"
    assert not torch.equal(checkpoint["current_model_state"][name], fail.average[name])


def test_a_run_of_a_given_time_keeps_time_for_both_validations(tmp_path):
    budget = TimeBudget(60)
    make_callbacks(tmp_path, "val/top1", budget=budget)
    assert budget.last_validations == 1
    make_callbacks(tmp_path, "val/top1", EMAOptions(), budget=budget)
    assert budget.last_validations == 2
