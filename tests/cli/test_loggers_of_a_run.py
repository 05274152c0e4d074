"""The loggers of `visionkit fit`: names in the recipe, and what happens if they cannot start."""

import pytest
import yaml
from lightning.pytorch.loggers.logger import DummyLogger

from tests.helpers.small_runs import write_recipe
from visionkit.cli.main import main
from visionkit.cli.run_list import read_run
from visionkit.engine.logger_options import MLflowOptions
from visionkit.engine.loggers import leave_out_after_an_error
from visionkit.engine.run_record import read_record


@pytest.fixture
def fit(tmp_path, monkeypatch, capsys):
    """Run `visionkit fit` with a small classifier, and return its exit status and its messages."""
    monkeypatch.chdir(tmp_path)
    write_recipe("classification", tmp_path)

    def run(*words):
        status = main(["fit", "mine.yaml", *words])
        return status, capsys.readouterr().err

    return run


@pytest.mark.parametrize(
    ("word", "has_events"), [("seed=0", True), ("logger=csv", False), ("logger=[csv, tensorboard]", True)]
)
def test_a_name_and_a_list_of_names_are_taken(word, has_events, fit, tmp_path):
    assert fit(word)[0] == 0
    files = {path.name.split(".")[0] for path in (tmp_path / "runs/mine/1").iterdir()}
    assert ("events" in files, "metrics" in files) == (has_events, True)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("logger=wanb", "unknown logger 'wanb'; did you mean wandb?"),
        ("logger.wandb.offline=maybe", "logger.wandb.offline"),
        ("trainer.logger=false", "logger=csv writes metrics.csv alone"),
        ("trainer.logger=true", "logger=csv writes metrics.csv alone"),
    ],
)
def test_a_mistake_leaves_no_run_folder(word, message, fit, tmp_path):
    status, error = fit(word)
    assert (status, message in error) == (2, True)
    assert not (tmp_path / "runs").exists()


SECRET = [
    "https://me:secret@host:5000",
    "postgresql://me:sec@ret@host/db",
    "http://:secret@h",
    "HTTPS://secret@host/a",
    "https://host/a?b=1&Password=secret",
    "https://host?api_key=secret",
]
PUBLIC = [
    "http://host:5000/a@b",
    "http://host/?a=b@c",
    "sqlite:///a:b@c.db",
    "postgresql://me@host:1/db?sslmode=require",
]


@pytest.mark.parametrize("uri", SECRET)
def test_an_address_with_a_password_is_refused_without_saying_it(uri, fit, tmp_path):
    status, error = fit(f"logger.mlflow.tracking_uri={uri}")
    assert status == 2
    assert "MLFLOW_TRACKING_PASSWORD" in error
    assert len(error.splitlines()) <= 5
    assert "ret" not in error
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("uri", [*PUBLIC, None])
def test_an_address_without_a_password_is_taken(uri):
    assert MLflowOptions(tracking_uri=uri).tracking_uri == uri


@pytest.mark.parametrize("uri", SECRET)
def test_a_warning_masks_the_secrets_of_an_address(uri, caplog):
    class Unreachable(DummyLogger):
        def save(self):
            raise ConnectionError(f"no answer from {uri} after 3 s")

    own = Unreachable()
    leave_out_after_an_error("tracker", own)
    own.save()
    assert "after 3 s" in caplog.text
    assert "***" in caplog.text
    assert "ret" not in caplog.text


def test_the_password_of_the_environment_is_in_no_file(fit, tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    status, error = fit("logger=mlflow")
    assert status == 2
    texts = [error, *(path.read_text() for path in (tmp_path / "runs").rglob("*") if path.is_file())]
    assert "http://***@127.0.0.1:9" in texts[0]
    assert not any("secret" in text for text in texts)


def test_a_checkpoint_of_a_recipe_without_a_logger_is_scored(fit):
    """Recipes with trainer.logger could be trained before it was refused."""
    assert fit()[0] == 0
    assert main(["validate", "runs/mine/1/last.ckpt", "trainer.logger=false"]) == 0


def test_the_loggers_get_the_recipe_that_the_run_writes(fit, tmp_path):
    assert fit("schedule.min_steps=7")[0] == 0
    run = tmp_path / "runs/mine/1"
    recipe, logged = (yaml.safe_load((run / name).read_text()) for name in ("recipe.yaml", "hparams.yaml"))
    assert recipe["trainer"]["max_epochs"] == 4
    assert logged == recipe


def test_a_run_whose_logger_cannot_start_is_listed_as_failed_with_the_reason(fit, tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert fit("logger.mlflow.tracking_uri=http://127.0.0.1:9")[0] == 2
    assert read_run(tmp_path / "runs/mine/1").status == "failed"
    assert "mlflow cannot start" in read_record(tmp_path / "runs/mine/1")["sessions"][0]["error"]
