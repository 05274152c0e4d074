import pytest

from visionkit.cli.tuning.trial import best_metric, run_trial


def test_the_best_validation_counts(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text("epoch,val/AP,loss\n0,,3\n1,0.2,2\n2,0.5,1\n3,0.4,\n4,nan,\n")
    assert best_metric(path, "val/AP") == 0.5
    assert best_metric(path, "val/AP50") is None
    assert best_metric(tmp_path / "gone.csv", "val/AP") is None


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
