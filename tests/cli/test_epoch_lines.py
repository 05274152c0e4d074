"""Progress of training without a terminal: a line per epoch."""

import logging
from itertools import count

import pytest
import torch

from tests.helpers.small_classifier import small_classification, small_images
from tests.helpers.small_trainer import small_trainer
from visionkit.cli.config.build import build_trainer
from visionkit.cli.epoch_lines import EpochLines
from visionkit.engine.time_budget import TimeBudget


def lines(caplog, seconds, further=(), **options):
    """Train with a clock that advances by `seconds` with each look, and return the lines."""
    torch.manual_seed(0)
    times = count(0, seconds)
    data = small_images(train=8, val=4, batch_size=4)
    callback = EpochLines(clock=lambda: next(times))
    with caplog.at_level(logging.INFO, "visionkit"):
        small_trainer(callbacks=[*further, callback], **options).fit(small_classification(data.class_names), data)
    return [record.getMessage() for record in caplog.records if record.getMessage().startswith("epoch ")]


def test_a_line_has_loss_metric_and_the_time_that_is_over_and_left(caplog):
    first, second, third = lines(caplog, 60.0, max_epochs=3)
    assert first.startswith("epoch 1/3: loss ")
    assert ", val/top1 0." in first
    assert first.endswith("; 1 min 0 s, 2 min 0 s left")
    assert second.endswith("; 2 min 0 s, 1 min 0 s left")
    assert third.endswith("; 3 min 0 s")


def test_short_epochs_have_a_line_a_second_and_the_last_has_one(caplog):
    found = lines(caplog, 0.4, max_epochs=8)
    assert [line.partition(":")[0] for line in found] == ["epoch 1/8", "epoch 4/8", "epoch 7/8", "epoch 8/8"]


def test_a_run_of_steps_knows_its_epochs(caplog):
    assert lines(caplog, 60.0, max_epochs=-1, max_steps=4)[-1].startswith("epoch 2/2: ")


def test_a_run_of_a_given_time_names_no_last_epoch(caplog):
    found = lines(caplog, 60.0, max_epochs=2, further=[TimeBudget(0.01)])
    assert found[0].startswith("epoch 1: ")
    assert "left" not in found[0]


@pytest.mark.parametrize(("given", "callbacks"), [({}, 1), ({"enable_progress_bar": False}, 0)])
def test_lines_take_the_place_of_the_bar_only_without_a_terminal(given, callbacks):
    trainer = build_trainer({"trainer": {"accelerator": "cpu", "max_epochs": 1, **given}}, [], False)
    assert sum(isinstance(callback, EpochLines) for callback in trainer.callbacks) == callbacks
    assert trainer.progress_bar_callback is None
