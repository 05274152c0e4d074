import csv

import pytest
from lightning.pytorch.loggers import CSVLogger

from tests.helpers.training_run import train
from visionkit.engine.loggers import make_loggers


def test_metrics_go_into_a_csv_file_of_the_folder(tmp_path):
    logger = make_loggers(tmp_path)[0]
    assert isinstance(logger, CSVLogger)
    logger.log_metrics({"val/AP": 0.5}, step=3)
    logger.save()
    with (tmp_path / "metrics.csv").open() as file:
        assert list(csv.DictReader(file)) == [{"step": "3", "val/AP": "0.5"}]


def test_a_resumed_run_keeps_the_rows_of_its_first_epochs(tmp_path):
    def rows(kind):
        with (tmp_path / "metrics.csv").open() as file:
            return [int(row["step"]) for row in csv.DictReader(file) if row[kind]]

    train(tmp_path, max_epochs=1)
    assert (rows("train/loss_step"), rows("val/AP")) == ([0, 1], [1])
    for epochs in (2, 3, 3):  # the last run has nothing left to train
        train(tmp_path, resumed=tmp_path / "last.ckpt", max_epochs=epochs)
    assert (rows("train/loss_step"), rows("val/AP")) == ([0, 1, 2, 3, 4, 5], [1, 3, 5])


@pytest.mark.parametrize("part", ["3,0.1", "3", "3\r\n", "\r\n3,0.1,0.2\r\n", "x,0.5\r\n", ",0.5\r\n", "1.5,0.5\r\n"])
@pytest.mark.parametrize("steps", [None, 5])
def test_a_part_of_a_row_that_a_killed_process_has_written_is_skipped(steps, part, tmp_path):
    (tmp_path / "metrics.csv").write_text(f"step,val/AP\r\n1,0.5\r\n2,\r\n{part}", newline="")
    make_loggers(tmp_path, steps)
    with (tmp_path / "metrics.csv").open() as file:
        assert list(csv.DictReader(file)) == [{"step": "1", "val/AP": "0.5"}, {"step": "2", "val/AP": ""}]


@pytest.mark.parametrize("content", ["", "st", "val/AP\r\n0.5\r\n"])
def test_a_file_without_a_complete_row_is_no_error(content, tmp_path):
    (tmp_path / "metrics.csv").write_text(content)
    logger = make_loggers(tmp_path, steps=5)[0]
    logger.log_metrics({"val/AP": 0.5}, step=5)
    with (tmp_path / "metrics.csv").open() as file:
        assert list(csv.DictReader(file)) == [{"step": "5", "val/AP": "0.5"}]
