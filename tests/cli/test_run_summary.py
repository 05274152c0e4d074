"""The first lines of a run."""

import logging

import pytest

from tests.helpers.small_classifier import small_classification, small_images
from tests.helpers.small_trainer import small_trainer
from visionkit.cli.run_summary import report_run
from visionkit.tasks import OptimizerOptions, ScheduleOptions


def report(caplog, minutes=None, **options):
    data = small_images(train=10, val=3, batch_size=2)
    schedule = ScheduleOptions(name="multistep", milestones=[2, 3.5])
    task = small_classification(data.class_names, optimizer=OptimizerOptions(lr=0.125), schedule=schedule)
    recipe = {"data": {"format": "folder", "root": "photos"}}
    with caplog.at_level(logging.INFO, "visionkit"):
        report_run(recipe, small_trainer(**options), task, data, minutes)
    return [record.getMessage() for record in caplog.records if record.name == "visionkit"]


def test_they_name_data_schedule_and_device(caplog):
    data, schedule, device = report(caplog, max_epochs=4, accumulate_grad_batches=2)
    assert data == "data: folder in photos; images: 10 train, 3 val; 6 classes"
    assert schedule == (
        "schedule: 4 epochs = 12 steps (3 steps an epoch, 4 images a step); sgd, learning rate 0.125, "
        "multistep at epochs 2, 3.5"
    )
    assert device == "device: cpu, precision 32-true"


@pytest.mark.parametrize(
    ("options", "length"),
    [
        ({"max_epochs": -1, "max_steps": 12}, "12 steps (3 epochs; 5 steps an epoch, 2 images a step)"),
        ({"max_epochs": 4, "minutes": 2.5}, "2.5 minutes (5 steps an epoch, 2 images a step)"),
        ({"max_epochs": -1}, "no number of epochs (5 steps an epoch, 2 images a step)"),
    ],
)
def test_the_length_is_that_which_ends_the_run(options, length, caplog):
    assert report(caplog, **options)[1].startswith(f"schedule: {length}; ")
