import csv

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
