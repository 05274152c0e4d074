"""The share of the training time that is spent waiting for data, with a clock that only the test advances."""

import logging
from types import SimpleNamespace

import pytest
import torch
from lightning.pytorch.callbacks import Callback
from torch.utils.data import DataLoader

from tests.helpers.small_classifier import small_classification, small_images
from tests.helpers.small_trainer import small_trainer
from visionkit.data.batch import collate
from visionkit.engine import data_wait
from visionkit.engine.data_wait import DataWait


class Clock:
    """A clock that is advanced by hand."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


class Work(Callback):
    """Steps of one second, and validations of a hundred."""

    def __init__(self, clock):
        self.clock = clock

    def on_train_batch_start(self, *given):
        self.clock.now += 1.0

    def on_validation_start(self, *given):
        self.clock.now += 100.0


def slow_images(clock, seconds):
    """Return two batches of four images, each of which takes `seconds`."""
    data = small_images(train=8, val=4)
    images = data.dataset("train")
    render = type(images).__getitem__

    class Slow(type(images)):
        def __getitem__(self, index):
            clock.now += seconds
            return render(self, index)

    images.__class__ = Slow
    return data


def waiting(caplog, seconds, read=None, **options):
    """Train two epochs of two batches whose four images take `seconds` each, and return the facts and the log."""
    clock = Clock()
    data = slow_images(clock, seconds)
    callback = DataWait(clock)
    with caplog.at_level(logging.INFO, "visionkit"):
        trainer = small_trainer(max_epochs=2, callbacks=[Work(clock), callback], **options)
        trainer.fit(small_classification(data.class_names), **({"datamodule": data} if read is None else read(data)))
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("waiting for data")]
    return callback.facts(), lines


def test_a_slow_dataset_is_named_with_what_to_do(caplog):
    facts, (line,) = waiting(caplog, 1.0)
    assert facts == {"data_wait": 0.8}
    assert line.startswith("waiting for data: 80 % of the training time: raise data.num_workers (now 0; ")
    assert "visionkit data pack" in line


def test_a_fast_dataset_needs_no_advice(caplog):
    facts, lines = waiting(caplog, 0.01)
    assert facts["data_wait"] == pytest.approx(0.04 / 1.04, abs=1e-3)
    assert lines == ["waiting for data: 4 % of the training time"]


def test_validations_between_steps_do_not_count(caplog):
    facts, _ = waiting(caplog, 1.0, val_check_interval=1)
    assert facts == {"data_wait": 0.8}


@pytest.mark.parametrize("stopped_after", [1, 3])
def test_a_run_that_is_resumed_within_an_epoch_counts_from_its_start(stopped_after, tmp_path):
    clock = Clock()
    clock.now = 1000.0  # the machine has been on for some time
    data = slow_images(clock, 1.0)
    path = tmp_path / "last.ckpt"

    class Stop(Callback):
        def on_train_batch_end(self, trainer, *given):
            if trainer.global_step == stopped_after:
                trainer.save_checkpoint(path)
                trainer.should_stop = True

    small_trainer(max_epochs=2, callbacks=[Stop()]).fit(small_classification(data.class_names), data)
    assert torch.load(path, weights_only=True)["global_step"] == stopped_after
    callback = DataWait(clock)
    trainer = small_trainer(max_epochs=2, callbacks=[Work(clock), callback])
    trainer.fit(small_classification(data.class_names), data, ckpt_path=path, weights_only=True)
    assert trainer.global_step == 4
    assert callback.facts() == {"data_wait": 0.8}


def test_nothing_is_said_about_a_loader_that_does_not_measure(caplog):
    def plain(data):
        return {"train_dataloaders": DataLoader(data.train_dataloader().dataset, 4, collate_fn=collate)}

    assert waiting(caplog, 1.0, plain, limit_val_batches=0) == ({}, [])


class Event:
    """An event after the work that a GPU has been given, which ends at `busy_until`."""

    clock, busy_until = Clock(), 0.0

    def __init__(self, enable_timing):
        assert enable_timing

    def record(self):
        self.time = max(Event.clock(), Event.busy_until)

    def query(self):
        return Event.clock() >= self.time

    def elapsed_time(self, later):
        return 1000 * (later.time - self.time)


@pytest.mark.parametrize(("loading", "expected"), [(2.0, 2 / 62), (5.0, (5 + 19 * 2) / 101)])
def test_a_gpu_that_still_works_does_not_wait(loading, expected, monkeypatch):
    """A step is launched at once and takes the GPU 3 s. The loader needs 2 s, which it hides, or 5 s."""
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.setattr(torch.cuda, "utilization", lambda device: 50)
    clock = Event.clock = Clock()
    Event.busy_until = 0.0
    loader = small_images().train_dataloader()
    trainer, module = SimpleNamespace(train_dataloader=loader), SimpleNamespace(device=torch.device("cuda"))
    callback = DataWait(clock)
    callback.on_train_epoch_start(trainer, module)
    for number in range(20):
        clock.now += loading
        loader.waited += loading
        callback.on_train_batch_start(trainer, module, None, number)
        Event.busy_until = max(clock.now, Event.busy_until) + 3.0
        clock.now = max(clock.now, Event.busy_until - 3.0)  # at most one step is launched ahead
        callback.on_train_batch_end(trainer, module, None, None, number)
    clock.now = Event.busy_until
    callback.on_train_end(trainer, module)
    assert callback.facts()["data_wait"] == pytest.approx(expected, abs=0.05)
    assert callback.facts()["gpu_utilization"] == 0.5


@pytest.mark.parametrize(("answer", "expected"), [(87, [0.87]), (None, [])])
def test_utilization_is_left_out_where_the_gpu_does_not_tell(answer, expected, monkeypatch):
    def utilization(device):
        if answer is None:
            raise ModuleNotFoundError("pynvml is not installed")
        return answer

    monkeypatch.setattr(torch.cuda, "utilization", utilization)
    assert data_wait._utilization(torch.device("cuda", 0)) == expected
