import logging
import time

import pytest
from lightning.pytorch.callbacks import Callback

from tests.helpers.small_classifier import small_classification, small_images
from tests.helpers.small_trainer import small_trainer
from visionkit.engine import time_budget
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


def train(seconds, slow, schedule, more=(), images=None, resumed=None, **options):
    data = images or small_images()
    task = small_classification(data.class_names, schedule=schedule)
    budget = TimeBudget(seconds)
    options = {"num_sanity_val_steps": 1, "max_epochs": 3, **options}
    trainer = small_trainer(callbacks=[budget, slow, *more], **options)
    start = time.monotonic()
    trainer.fit(task, data, ckpt_path=resumed, weights_only=True)
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
    assert 1 <= slow.validations <= 2 * MOST_VALIDATIONS  # they are planned after the first epochs, which can be slow
    assert budget.progress == 1.0
    assert slow.rates[0] < 0.2 * max(slow.rates)
    assert slow.rates[-1] < 0.2 * max(slow.rates)
    assert "0.1 minutes: about" in caplog.text


def test_validations_that_follow_batches_are_planned_too():
    slow = Slow(0.02)
    train(3.0, slow, ScheduleOptions(name="constant"), val_check_interval=3, check_val_every_n_epoch=None)
    assert slow.validations >= 5


@pytest.mark.parametrize(("seconds", "slow", "accumulated"), [(0.01, 0.02, 1), (2.0, 0.1, 1), (3.0, 0.001, 64)])
def test_too_few_steps_are_named(seconds, slow, accumulated, caplog):
    """Before they can be planned, the time is over; or they are planned. A step may have several batches."""
    constant, images = ScheduleOptions(name="constant"), small_images(train=8 * accumulated)
    train(seconds, Slow(slow), constant, images=images, accumulate_grad_batches=accumulated)
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


class SlowStart(Callback):
    """Lengthen the first batch that is validated."""

    def __init__(self, seconds):
        self.seconds = seconds

    def on_validation_batch_start(self, trainer, task, batch, index, loader=0):
        time.sleep(self.seconds)
        self.seconds = 0.0


def test_a_slow_start_of_the_sanity_check_does_not_shorten_the_training():
    """If all 16 batches took as long as the first one, no time would be left for training."""
    images, more = small_images(train=64, val=64), [SlowStart(0.5)]
    _, _, taken = train(5.0, Slow(0.0), ScheduleOptions(name="constant"), more, images, num_sanity_val_steps=2)
    assert taken > 4.0


class Interrupt(Callback):
    """Save a checkpoint, and stop, when a share of the time is over."""

    def __init__(self, path, share):
        self.path, self.share = path, share

    def on_train_batch_end(self, trainer, task, outputs, batch, index):
        if task.timed_schedule.progress() > self.share:
            trainer.save_checkpoint(self.path)
            raise InterruptedError


def test_a_resumed_run_continues_the_schedule(tmp_path, caplog, monkeypatch):
    cosine, path, before, after = ScheduleOptions(name="cosine", warmup_steps=0), tmp_path / "a.ckpt", Slow(0), Slow(0)
    with pytest.raises(InterruptedError):
        train(5.0, before, cosine, [Interrupt(path, 0.8)])
    caplog.clear()
    monkeypatch.setattr(time_budget, "LEAST_STEPS", len(before.rates))
    train(5.0, after, cosine, resumed=path)
    assert max(after.rates) <= before.rates[-1] < 0.2 * before.rates[0]
    assert "too few" not in caplog.text, "the steps before the interruption count"


def test_a_resumed_run_has_the_rest_of_the_time_and_knows_how_long_a_validation_takes():
    first, second = TimeBudget(100.0), TimeBudget(100.0)
    first._start -= 60
    first._validation = 7.0
    second.load_state_dict(first.state_dict())
    assert time.monotonic() - second._start == pytest.approx(60, abs=1)
    assert second._validation == 7.0, "Lightning has no sanity check after a resume"
