"""`visionkit tune batch-size`: what was measured, and overrides that keep the effective batch."""

import csv
import re

import pytest
import torch

from tests.helpers.tuning import tune
from visionkit.tasks import Classification


@pytest.fixture(autouse=True)
def no_garbage_collection(monkeypatch):
    """Lightning collects garbage before every batch size, which takes a second in the process of all tests."""
    monkeypatch.setattr("gc.collect", lambda *_: 0)


@pytest.fixture
def small_memory(monkeypatch):
    """Let the memory be full with more than two images."""
    losses = Classification.training_losses

    def limited(self, batch, step):
        if len(batch.images) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return losses(self, batch, step)

    monkeypatch.setattr(Classification, "training_losses", limited)


def suggested(output):
    """Return the size of a batch and the number of batches of a step that the output names."""
    found = re.search(r"data.batch_size=(\d+) trainer.accumulate_grad_batches=(\d+)\n", output)
    return tuple(map(int, found.groups()))


def test_every_size_is_measured_up_to_the_limit(tmp_path, capsys):
    assert tune(tmp_path, "batch-size", "mine.yaml", "--steps", "2", "--max", "16") == 0
    output = capsys.readouterr().out
    folder = tmp_path / "tune/mine/batch-size/1"
    with (folder / "batch_size.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["data.batch_size"]) for row in rows] == [2, 4, 8, 16]
    for row in rows:
        product = float(row["seconds_per_step"]) * float(row["images_per_second"])
        assert product == pytest.approx(float(row["data.batch_size"]), rel=0.01)
    assert "this keeps the effective batch of 4 images" in output
    assert "larger ones than 16 were not tried; a full memory of the machine cannot be told in advance" in output
    assert (folder / "batch_size.svg").is_file()
    assert not (tmp_path / "runs").exists()


def test_a_batch_that_does_not_fit_is_accumulated(small_memory, tmp_path, capsys):
    words = ["trainer.accumulate_grad_batches=3", "--steps", "2"]
    assert tune(tmp_path, "batch-size", "mine.yaml", *words) == 0
    output = capsys.readouterr().out
    assert suggested(output) in ((2, 6), (1, 12))  # which of the two is faster depends on the machine
    assert "this keeps the effective batch of 12 images" in output
    assert "4 images do not fit the memory" in output


def test_another_effective_batch_can_be_asked_for(small_memory, tmp_path, capsys):
    assert tune(tmp_path, "batch-size", "mine.yaml", "--steps", "2", "--effective", "10") == 0
    output = capsys.readouterr().out
    assert suggested(output) in ((2, 5), (1, 10))
    assert "this changes the effective batch from 4 to 10 images" in output


def test_the_largest_batch_size_is_a_whole_number(tmp_path, capsys):
    with pytest.raises(SystemExit):
        tune(tmp_path, "batch-size", "mine.yaml", "--max", "2.5")
    assert "--max 2.5 must be a whole number of images" in capsys.readouterr().err


def test_there_are_no_more_images_than_the_data_have(tmp_path, capsys):
    assert tune(tmp_path, "batch-size", "mine.yaml", "--steps", "2", "--max", "1000") == 0
    assert "larger ones than 22 were not tried" in capsys.readouterr().out  # 2 of 24 images have no class


def test_a_strategy_for_several_processes_is_not_needed_for_one(tmp_path):
    words = ["trainer.strategy=ddp", "trainer.devices=1", "--steps", "2", "--max", "4"]
    assert tune(tmp_path, "batch-size", "mine.yaml", *words) == 0
