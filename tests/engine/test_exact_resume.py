"""A run that is stopped and resumed equals the run without interruption, bit for bit."""

import csv
import signal

import lightning.pytorch as pl
import pytest
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.exceptions import SIGTERMException

from tests.helpers.small_classifier import small_classification, small_images
from tests.helpers.small_detector import small_data, small_task
from tests.helpers.small_segmenter import small_masks, small_segmentation
from tests.helpers.small_trainer import small_trainer
from visionkit.engine.callbacks import CheckpointOptions, EMAOptions, make_callbacks
from visionkit.engine.graceful_stop import GracefulStop, report_stop
from visionkit.engine.loggers import make_loggers
from visionkit.errors import StoppedError
from visionkit.tasks import ScheduleOptions
from visionkit.tasks.mixing import MixingOptions

EPOCHS = 2
FLIP = [{"name": "HorizontalFlip", "p": 0.5}, {"name": "RandomBrightnessContrast", "p": 0.5}]


def detection(workers):
    data = small_data(train=6, augment=FLIP, num_workers=workers)
    return data, small_task(data.class_names)


def classification(workers):
    data = small_images(train=12, augment=FLIP, num_workers=workers, sampling="balanced")
    schedule = ScheduleOptions(name="cosine", warmup_steps=2)
    return data, small_classification(data.class_names, mixing=MixingOptions(mixup_alpha=0.4), schedule=schedule)


def segmentation(workers):
    data = small_masks(train=12, augment=FLIP, num_workers=workers)
    return data, small_segmentation(data.class_names)


class Seen(Callback):
    """Record the images of each batch, and act after one of them."""

    def __init__(self, after, act):
        self.batches, self.after, self.act = [], after, act

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.batches.append(
            (trainer.current_epoch, batch.image_ids, [image.float().sum().item() for image in batch.images])
        )
        if len(self.batches) == self.after:
            self.act()


class Network(Exception):
    """A fault between two steps, such as a lost file server."""


def train(make, folder, workers=0, resumed=False, after=0, act=None, every=None):
    """Train, and return the task, the batches that were seen, and the rows of metrics.csv."""
    pl.seed_everything(5, verbose=False)
    data, task = make(workers)
    checkpoint = folder / "last.ckpt" if resumed else None
    steps = torch.load(checkpoint, weights_only=True)["global_step"] if checkpoint else None
    seen = Seen(after, act)
    callbacks = [
        seen,
        *make_callbacks(folder, task.monitor, EMAOptions(decay=0.9), checkpoint=CheckpointOptions(every)),
    ]
    trainer = small_trainer(
        max_epochs=EPOCHS,
        callbacks=callbacks,
        logger=make_loggers(folder, steps),
        enable_checkpointing=True,
        log_every_n_steps=1,
    )
    try:
        trainer.fit(task, data, ckpt_path=checkpoint, weights_only=True)
    except (SIGTERMException, StoppedError, Network):
        assert after, "only a run that is to be stopped may stop"
    with (folder / "metrics.csv").open() as file:
        return task, seen.batches, list(csv.DictReader(file))


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "")  # put back as it was at the end
    monkeypatch.setenv("PL_SEED_WORKERS", "")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Runs without interruption by task."""
    known = {}

    def run(make):
        if make not in known:
            known[make] = train(make, tmp_path_factory.mktemp("whole"))
        return known[make]

    return run


def rows_without_empty(rows):
    return [{name: value for name, value in row.items() if value} for row in rows]


def assert_same_run(first, second, batches):
    for name, value in first[0].state_dict().items():
        assert torch.equal(value, second[0].state_dict()[name]), name
    assert batches == first[1]
    assert rows_without_empty(second[2]) == rows_without_empty(first[2])


@pytest.mark.parametrize(
    ("make", "number", "after"),
    [
        (detection, signal.SIGTERM, 1),
        (detection, signal.SIGHUP, 3),  # the last batch of the first epoch
        (detection, signal.SIGINT, 5),
        (classification, signal.SIGTERM, 2),
        (classification, signal.SIGTERM, 4),
        (segmentation, signal.SIGTERM, 2),
    ],
)
def test_a_run_that_a_signal_stopped_continues_exactly(make, number, after, whole, tmp_path):
    before = signal.getsignal(number)
    _, first, _ = train(make, tmp_path, after=after, act=lambda: signal.raise_signal(number))
    assert signal.getsignal(number) == before
    resumed = train(make, tmp_path, resumed=True)
    assert 0 < len(first) < len(whole(make)[1])
    assert_same_run(whole(make), resumed, first + resumed[1])


@pytest.mark.parametrize("every", [1, 2])
def test_a_killed_run_continues_from_the_last_of_its_regular_checkpoints(every, whole, tmp_path):
    def die():
        raise StoppedError(signal.SIGKILL, "as if killed: nothing is saved")

    _, first, _ = train(detection, tmp_path, after=5, act=die, every=every)
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"]
    assert saved == {1: 4, 2: 4}[every]
    resumed = train(detection, tmp_path, resumed=True, every=every)
    assert_same_run(whole(detection), resumed, first[:saved] + resumed[1])


def test_workers_draw_the_images_and_the_augmentation_of_one_process(whole, tmp_path):
    _, first, _ = train(classification, tmp_path, workers=2, after=2, act=lambda: signal.raise_signal(signal.SIGTERM))
    resumed = train(classification, tmp_path, workers=2, resumed=True)
    assert_same_run(whole(classification), resumed, first + resumed[1])


def test_a_second_signal_stops_at_once_and_saves_nothing(tmp_path):
    def twice():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)

    _, batches, _ = train(segmentation, tmp_path, after=1, act=twice)
    assert len(batches) == 1
    assert not (tmp_path / "last.ckpt").exists()


def test_the_signal_and_the_checkpoint_are_reported(tmp_path):
    stop = GracefulStop()
    stop.received = int(signal.SIGHUP)
    with (
        pytest.raises(StoppedError, match=r"stopped by SIGHUP; the state was saved in .*last\.ckpt") as caught,
        report_stop([stop], tmp_path / "last.ckpt"),
    ):
        raise SIGTERMException
    assert caught.value.signal == signal.SIGHUP
