import pytest

from visionkit.cli.tuning.trial import metric_values, run_trial


def test_empty_cells_are_no_values(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,val/AP,loss\n0,,3\n1,0.2,2\n2,0.5,1\n3,0.4,\n")
    assert metric_values(path, "val/AP") == [0.2, 0.5, 0.4]
    assert metric_values(path, "val/AP50") == []
    assert metric_values(tmp_path / "gone.csv", "val/AP") == []


@pytest.mark.parametrize(
    ("rows", "metric", "error"),
    [
        ("0.2 0.5 0.4 nan", 0.5, ""),
        ("nan nan", None, "val/AP is nan in all validations"),
        ("", None, "val/AP was never computed"),
    ],
)
def test_the_best_validation_counts(rows, metric, error, tmp_path, monkeypatch):
    folder = tmp_path / "trial-0"
    folder.mkdir()
    (folder / "metrics.csv").write_text("\n".join(["val/AP", *rows.split()]))
    monkeypatch.setattr("sys.executable", "true")
    result = run_trial(["any.yaml"], folder, "val/AP")
    assert (result.metric, result.error) == (metric, error)


def test_an_error_of_the_run_is_a_failed_trial(tmp_path):
    result = run_trial(["gone.yaml"], tmp_path / "trial-0", "val/AP")
    assert result.metric is None
    assert "there is no recipe or data card gone.yaml" in result.error
    assert "gone.yaml" in (tmp_path / "trial-0.log").read_text()


@pytest.mark.parametrize(("code", "error"), [("import os; os.kill(os.getpid(), 9)", "killed by signal 9")])
def test_a_killed_run_is_a_failed_trial(code, error, tmp_path, monkeypatch):
    (tmp_path / "dies").write_text(f'#!/bin/sh\nexec python3 -c "{code}"\n')
    (tmp_path / "dies").chmod(0o755)
    monkeypatch.setattr("sys.executable", str(tmp_path / "dies"))
    assert error in run_trial(["any.yaml"], tmp_path / "trial-0", "val/AP").error
