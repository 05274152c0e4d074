import logging
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import visionkit as vk
from tests.helpers.small_classifier import small_classification
from tests.helpers.small_multi import multi_data, multi_task
from visionkit.data.datamodule import VisionData
from visionkit.engine.run_warnings import FIRST_STEPS, RunWarnings
from visionkit.metrics.results import MetricResults


def trainer(data=None, steps=FIRST_STEPS, **metrics):
    values = {name.replace("_", "/"): torch.tensor(value) for name, value in metrics.items()}
    return SimpleNamespace(callback_metrics=values, sanity_checking=False, datamodule=data, global_step=steps)


@pytest.fixture
def said(caplog):
    caplog.set_level(logging.INFO, "visionkit")
    return lambda: caplog.text


def data(batch_size, val=100):
    splits = {"train": {"count": 8, "size": 32}, "val": {"count": val, "size": 32, "split": "val"}}
    return VisionData("shapes", splits=splits, batch_size=batch_size, num_workers=0)


@pytest.mark.parametrize(("batch_size", "is_trained", "warns"), [(2, True, True), (4, True, False), (2, False, False)])
def test_batches_that_are_too_small_for_batch_norm(batch_size, is_trained, warns, said):
    RunWarnings("val/AP").on_train_start(trainer(data(batch_size)), nn.BatchNorm2d(2).train(is_trained))
    assert ("BatchNorm layers are trained with 2 images at a time" in said()) == warns


@pytest.mark.parametrize(("count", "points"), [(25, "20 points"), (100, "10 points"), (200, None)])
def test_a_small_validation_split(count, points, said):
    callback = RunWarnings("val/top1")
    callback.on_train_start(trainer(data(8, count)), nn.Identity())  # errors of other metrics are not known
    assert "chance" not in said()
    callback.on_train_start(trainer(data(8, count)), small_classification(["a", "b"]))
    assert points in said() if points else "chance" not in said()


def losses(values):
    callback = RunWarnings("val/AP")
    for value in values:
        callback.on_train_epoch_end(trainer(train_loss=value), nn.Identity())


def test_a_loss_that_does_not_fall_is_said_once(said):
    losses([2.0, 2.1, 1.9, 2.0, 2.0, 2.0])
    assert said().count("the training loss does not fall (2 after one epoch, 2 after 4)") == 1


@pytest.mark.parametrize("values", [[2.0, 1.9, 1.7, 1.5], [2.0, 2.0, 2.0]])
def test_a_falling_loss_or_a_short_run_is_not_said(values, said):
    losses(values)
    assert not said()


@pytest.mark.parametrize(
    ("values", "warns"),
    [
        ([0.031] * 5, True),
        ([0.031] * 4, False),
        ([0.03, 0.04, 0.05, 0.06, 0.07], False),
        ([0.95] * 6, False),
        ([0.02] + [0.031] * 5, False),  # it has learned
        ([0.2] + [0.031] * 5, True),  # it has lost what it had learned
    ],
)
def test_a_flat_metric(values, warns, said):
    callback = RunWarnings("val/AP")
    for value in values:
        callback.on_validation_end(trainer(val_AP=value), nn.Identity())
    assert ("val/AP has been 0.0310 in 5 validations" in said()) == warns


def test_a_metric_that_rose_in_the_first_steps_may_stay(said):
    callback = RunWarnings("val/AP")
    callback.on_validation_end(trainer(steps=FIRST_STEPS - 1, val_AP=0.3), nn.Identity())
    for _ in range(5):
        callback.on_validation_end(trainer(val_AP=0.8), nn.Identity())
    assert not said()


def test_a_resumed_run_is_compared_with_its_start(said):
    first, second = RunWarnings("val/AP"), RunWarnings("val/AP")
    for loss, metric in ((2.0, 0.1), (1.0, 0.6)):
        first.on_train_epoch_end(trainer(train_loss=loss), nn.Identity())
        first.on_validation_end(trainer(val_AP=metric), nn.Identity())
    second.load_state_dict(first.state_dict())
    for _ in range(6):
        second.on_train_epoch_end(trainer(train_loss=1.0), nn.Identity())
        second.on_validation_end(trainer(val_AP=0.6), nn.Identity())
    assert not said()


def test_short_epochs_are_not_judged_in_the_first_steps(said):
    callback = RunWarnings("val/AP")
    for _ in range(20):
        callback.on_train_epoch_end(trainer(steps=FIRST_STEPS - 1, train_loss=2.0), nn.Identity())
        callback.on_validation_end(trainer(steps=FIRST_STEPS - 1, val_AP=0.0), nn.Identity())
    assert not said()


def test_classes_without_a_right_prediction_are_named(said):
    task = vk.Segmentation(vk.UNet(vk.create_backbone("resnet18", weights="none"), num_classes=3), ["a", "b", "c"])
    task.results = MetricResults({}, {"IoU": {"a": 0.5, "b": 0.0, "c": float("nan")}})
    RunWarnings("val/mIoU").on_train_end(trainer(), task)
    assert "no prediction was right in the last validation for: b" in said()


def test_other_modules_are_left_alone(said):
    callback = RunWarnings("val/AP")
    callback.on_train_start(trainer(), nn.Identity())
    callback.on_train_epoch_end(trainer(), nn.Identity())
    callback.on_validation_end(trainer(), nn.Identity())
    callback.on_train_end(trainer(), nn.Identity())
    assert not said()


def test_classes_without_a_right_prediction_are_named_for_every_head(caplog):
    task = multi_task(multi_data("regions", "tags"))
    regions = MetricResults({}, {"IoU": {"disc": 0.5, "star": 0.0}, "pixels": {"disc": 9.0, "star": 9.0}})
    tags = MetricResults({}, {"AP": {"disc": 0.0, "star": 0.5}})
    task.results = regions.with_prefix("regions/") | tags.with_prefix("tags/")
    RunWarnings("val/mean_metric").on_train_end(SimpleNamespace(), task)
    assert "no prediction was right in the last validation for: regions/star, tags/disc" in caplog.text
