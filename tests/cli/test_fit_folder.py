"""`visionkit fit --folder` trains in a folder of the user's choice."""

import pytest

from tests.helpers.tuning import RECIPE
from visionkit.cli.main import main
from visionkit.engine.run_record import read_record


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(RECIPE)
    return tmp_path


def test_the_run_is_in_the_given_folder(folder):
    assert main(["fit", "mine.yaml", "--folder", "out/trial-1"]) == 0
    assert {"best.ckpt", "metrics.csv", "recipe.yaml"} <= {path.name for path in (folder / "out/trial-1").iterdir()}
    assert not (folder / "runs").exists()


def test_a_folder_with_files_is_refused(folder, capsys):
    (folder / "out").mkdir()
    (folder / "out/best.ckpt").write_text("of another run")
    assert main(["fit", "mine.yaml", "--folder", "out"]) == 2
    assert "out contains files, which could be overwritten" in capsys.readouterr().err
    assert (folder / "out/best.ckpt").read_text() == "of another run"


def test_a_folder_of_a_start_that_failed_before_training_is_accepted(folder):
    assert main(["fit", "mine.yaml", "trainer.accelerator=nonsense", "--folder", "out"]) == 2
    assert (folder / "out/run.yaml").is_file()
    assert main(["fit", "mine.yaml", "--folder", "out"]) == 0
    (session,) = read_record(folder / "out")["sessions"]
    assert session["status"] == "finished"


def test_a_folder_with_metrics_is_refused(folder):
    (folder / "out").mkdir()
    for name in ("run.yaml", "metrics.csv"):
        (folder / "out" / name).write_text("recipe: other\n")
    assert main(["fit", "mine.yaml", "--folder", "out"]) == 2
    assert (folder / "out/run.yaml").read_text() == "recipe: other\n"


def test_a_resumed_run_has_its_folder(folder, capsys):
    with pytest.raises(SystemExit):
        main(["fit", "mine.yaml", "--resume", "--folder", "out"])
    assert "leave out --folder" in capsys.readouterr().err
