import logging
import time

import pytest
from lightning.pytorch.callbacks import Callback

from tests.helpers.small_classifier import small_classification, small_images
from tests.helpers.small_trainer import small_trainer
from visionkit.engine.time_budget import MOST_VALIDATIONS, TimeBudget
from visionkit.errors import ConfigError
from visionkit.tasks.schedules import ScheduleOptions


class Slow(Callback):
    """Lengthen each step, and record learning rates and validations."""

    def __init__(self, seconds):
        self.seconds, self.rates, self.validations = seconds, [], 0

    def on_train_batch_start(self, trainer, task, batch, index):
        time.sleep(self.seconds)
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])

    def on_validation_end(self, trainer, task):
        self.validations += not trainer.sanity_checking


def train(seconds, slow, schedule):
    data = small_images()
    task = small_classification(data.class_names, schedule=schedule)
    budget = TimeBudget(seconds)
    trainer = small_trainer(callbacks=[budget, slow], num_sanity_val_steps=1, max_epochs=3)
    start = time.monotonic()
    trainer.fit(task, data)
    return budget, trainer, time.monotonic() - start


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_no_time_is_refused(seconds):
    with pytest.raises(ConfigError, match="seconds"):
        TimeBudget(seconds)


def test_a_run_ends_in_time_with_a_validation_and_a_finished_schedule(caplog):
    caplog.set_level(logging.INFO, "visionkit")
    slow = Slow(0.02)
    schedule = ScheduleOptions(name="cosine", warmup_steps=1000)
    budget, trainer, taken = train(4.0, slow, schedule)
    assert 3.2 < taken < 5.5  # the machine may be busy
    assert trainer.current_epoch > 3
    assert 1 <= slow.validations <= MOST_VALIDATIONS + 4  # three epochs pass before the interval is known
    assert budget.progress == 1.0
    assert slow.rates[0] < 0.2 * max(slow.rates)
    assert slow.rates[-1] < 0.2 * max(slow.rates)
    assert "0.1 minutes: about" in caplog.text


@pytest.mark.parametrize(("seconds", "slow"), [(0.01, 0.02), (2.0, 0.1)])
def test_too_few_steps_are_named(seconds, slow, caplog):
    """Before they can be planned, the time is over; or they are planned."""
    train(seconds, Slow(slow), ScheduleOptions(name="constant"))
    assert "too few to train a network" in caplog.text
    caplog.clear()
    train(4.0, Slow(0.001), ScheduleOptions(name="constant"))
    assert "too few to train a network" not in caplog.text


def test_milestones_are_at_their_share_of_the_time():
    slow = Slow(0.02)
    schedule = ScheduleOptions(name="multistep", milestones=[1.5], gamma=0.1, warmup_steps=0)
    train(2.0, slow, schedule)
    before = sum(rate > 0.5 * slow.rates[0] for rate in slow.rates)
    assert 0.25 < before / len(slow.rates) < 0.75


def test_a_resumed_run_has_the_rest_of_the_time():
    first, second = TimeBudget(100.0), TimeBudget(100.0)
    first._start -= 60
    second.load_state_dict(first.state_dict())
    assert time.monotonic() - second._start == pytest.approx(60, abs=1)
