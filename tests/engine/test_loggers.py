import contextlib
import csv
import subprocess
import sys
import time
import urllib.request

import pytest
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.logger import DummyLogger

from tests.helpers.training_run import train
from visionkit.engine.logger_options import MLflowOptions, WandbOptions
from visionkit.engine.loggers import leave_out_after_an_error, make_loggers, run_loggers
from visionkit.engine.run_record import read_record
from visionkit.errors import ConfigError


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


def logged(folder, options, steps=(1, 2)):
    """Log a metric with the second logger, and return the logger."""
    _, logger = make_loggers(folder, chosen=options)
    for step in steps:
        logger.log_metrics({"val/AP": step / 10}, step=step)
    logger.finalize("success")
    return logger


def test_tensorboard_is_used_by_default_and_not_if_others_are_named(tmp_path):
    assert [type(logger).__name__ for logger in make_loggers(tmp_path)] == ["RunLogger", "TensorBoardLogger"]
    assert len(make_loggers(tmp_path, chosen={})) == 1


def test_wandb_offline_writes_to_the_run_folder_and_a_resumed_run_continues(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    options = {"wandb": WandbOptions(project="cells", offline=True)}
    first = logged(tmp_path, options).version
    assert [*(tmp_path / "wandb").glob(f"offline-run-*-{first}/*.wandb")]
    assert read_record(tmp_path)["wandb_id"] == first
    assert logged(tmp_path, options, steps=(3,)).version == first
    assert logged(tmp_path / "other", options).version != first, "another run of the same process"
    assert wandb.run is None


def test_wandb_is_finished_after_an_error_before_the_training(tmp_path, monkeypatch):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    options = {"wandb": WandbOptions(offline=True), "mlflow": MLflowOptions(tracking_uri="no://scheme")}
    with pytest.raises(ConfigError, match="mlflow cannot start"):
        make_loggers(tmp_path, chosen=options)
    assert wandb.run is None
    del options["mlflow"]
    with pytest.raises(KeyError), run_loggers(tmp_path, chosen=options):
        raise KeyError
    assert wandb.run is None


def test_wandb_is_finished_after_an_error_of_its_own(tmp_path, monkeypatch, caplog):
    wandb = pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    _, logger = make_loggers(tmp_path, chosen={"wandb": WandbOptions(offline=True)})
    monkeypatch.setattr(logger.experiment, "log", lambda *_, **__: 1 / 0)
    logger.log_metrics({"val/AP": 0.5}, step=1)
    assert "logger: wandb failed" in caplog.text
    monkeypatch.setattr("lightning.pytorch.loggers.WandbLogger.finalize", lambda *_: 1 / 0)
    logger.finalize("success")
    assert wandb.run is None


def test_mlflow_ends_its_run_after_an_error_of_its_own(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    _, logger = make_loggers(tmp_path, chosen={"mlflow": MLflowOptions(tracking_uri=uri)})
    monkeypatch.setattr(logger.experiment, "log_batch", lambda *_, **__: 1 / 0)
    logger.log_metrics({"val/AP": 0.5}, step=1)
    logger.finalize("success")
    assert mlflow.MlflowClient(uri).get_run(logger.run_id).info.status == "FINISHED"


def test_mlflow_writes_to_a_database_and_a_resumed_run_continues(tmp_path):
    mlflow = pytest.importorskip("mlflow")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    options = {"mlflow": MLflowOptions(tracking_uri=uri, experiment_name="cells")}
    run = logged(tmp_path, options).run_id
    assert logged(tmp_path, options, steps=(3,)).run_id == run
    history = mlflow.MlflowClient(uri).get_metric_history(run, "val/AP")
    assert [(entry.step, entry.value) for entry in history] == [(1, 0.1), (2, 0.2), (3, 0.3)]


def test_a_server_that_does_not_answer_is_said_before_training(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    options = {"mlflow": MLflowOptions(tracking_uri="http://127.0.0.1:9")}
    with pytest.raises(ConfigError, match="cannot start") as error:
        make_loggers(tmp_path, chosen=options)
    assert "logger.mlflow.tracking_uri" in str(error.value)
    assert len(str(error.value).splitlines()) <= 5


class Unreliable(DummyLogger):
    """A logger that fails in one of its methods, as with a server that has gone away, and counts the calls."""

    def __init__(self, method):
        super().__init__()
        self.method, self.calls = method, 0

    def fail(self, method):
        if method == self.method:
            self.calls += 1
            raise ConnectionError("the server has gone away\nand a second line")

    def log_metrics(self, *args, **kwargs):
        self.fail("log_metrics")

    def save(self):
        self.fail("save")

    def after_save_checkpoint(self, callback):
        self.fail("after_save_checkpoint")

    def finalize(self, status):
        self.fail("finalize")


class EndsOnce(Unreliable):
    """A logger whose run has to be ended on its server, which has gone away."""

    def __init__(self, method):
        super().__init__(method)
        self.statuses = []

    def finalize(self, status):
        self.statuses.append(status)
        raise ConnectionError("still away")


@pytest.mark.parametrize("method", ["log_metrics", "finalize"])
def test_a_logger_is_finalized_once_after_its_error(method, caplog):
    ends = EndsOnce(method)
    leave_out_after_an_error("tracker", ends)
    ends.log_metrics({"val/AP": 0.5})
    ends.finalize("success")
    ends.finalize("failed")
    assert ends.statuses == ["success"]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("method", ["log_metrics", "save", "after_save_checkpoint", "finalize"])
def test_an_error_of_a_logger_during_training_is_a_warning_and_it_is_left_out(method, tmp_path, caplog):
    unreliable = Unreliable(method)
    leave_out_after_an_error("tracker", unreliable)
    trainer = train(tmp_path, max_epochs=2, more_loggers=[unreliable])
    assert (trainer.current_epoch, unreliable.calls) == (2, 1)
    (warning,) = [record.message for record in caplog.records if "tracker" in record.message]
    assert "the server has gone away" in warning
    with (tmp_path / "metrics.csv").open() as file:
        assert [row["step"] for row in csv.DictReader(file) if row["val/AP"]] == ["1", "3"]


def test_the_loggers_of_a_recipe_are_left_out_after_an_error(tmp_path, monkeypatch, caplog):
    _, tensorboard = make_loggers(tmp_path)
    tensorboard.log_metrics({"val/AP": 0.1}, step=1)
    monkeypatch.setattr(tensorboard.experiment, "add_scalar", lambda *_: 1 / 0)
    for step in (2, 3):
        tensorboard.log_metrics({"val/AP": 0.1}, step=step)
    assert caplog.text.count("logger: tensorboard failed") == 1


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install .visionkit\[wandb\]"):
        make_loggers(tmp_path, chosen={"wandb": WandbOptions()})


@pytest.mark.slow
def test_a_local_mlflow_server_gets_the_metrics(tmp_path, free_port):
    mlflow = pytest.importorskip("mlflow")
    uri = f"http://127.0.0.1:{free_port}"
    words = ["server", "--backend-store-uri", f"sqlite:///{tmp_path}/server.db", "--port", str(free_port)]
    with subprocess.Popen(
        [sys.executable, "-m", "mlflow", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            wait_for(uri)
            run = logged(tmp_path / "run", {"mlflow": MLflowOptions(tracking_uri=uri)}).run_id
            assert mlflow.MlflowClient(uri).get_run(run).data.metrics == {"val/AP": 0.2}
        finally:
            server.terminate()


def wait_for(uri, seconds=90):
    for _ in range(seconds):
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{uri}/health", timeout=1):
            return
        time.sleep(1)
    raise TimeoutError(uri)
