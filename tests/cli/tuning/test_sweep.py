"""Sweeps: all values are checked first, failures are recorded, and an interrupted sweep continues."""

import csv
import re
import subprocess
import sys

import pytest
import yaml

from tests.helpers.tuning import RECIPE, tune
from visionkit.cli.main import main
from visionkit.cli.tuning import sweep
from visionkit.cli.tuning.search_space import parse_space
from visionkit.cli.tuning.study import JOURNAL, Study
from visionkit.cli.tuning.trial import TrialResult, TrialStoppedError

VARY = ["--vary", "optimizer.lr=log:1e-4:1e-1", "--epochs", "1"]


@pytest.fixture
def trials(monkeypatch):
    """Replace the processes by a formula: the metric is highest at a learning rate of 0.01. Return what was run."""
    runs = []

    def run(words, folder, monitor):
        lr = next(float(word.partition("=")[2]) for word in words if word.startswith("optimizer.lr="))
        runs.append((words, folder.name))
        return TrialResult(1 / (1 + abs(lr - 0.01)), 0.5, "")

    monkeypatch.setattr(sweep, "run_trial", run)
    return runs


def interrupt(monkeypatch, trials, after):
    """Stop the sweep in the trial after some, and return the function that runs trials."""
    run = sweep.run_trial

    def interrupted(words, folder, monitor):
        if len(trials) == after:
            raise TrialStoppedError
        return run(words, folder, monitor)

    monkeypatch.setattr(sweep, "run_trial", interrupted)
    return run


def rows(folder):
    with (folder / "sweep.csv").open() as file:
        return list(csv.DictReader(file))


def test_trials_have_one_budget_and_the_best_is_named(trials, tmp_path, capsys):
    assert tune(tmp_path, "sweep", "mine.yaml", *VARY, "--trials", "4") == 0
    assert len(trials) == 4
    assert all(words[-1] == "trainer.max_epochs=1" for words, _ in trials)
    assert trials[0][0] == ["mine.yaml", "optimizer.lr=0.01", "trainer.max_epochs=1"]  # the recipe's own value
    folder = tmp_path / "tune/mine/sweep/1"
    assert [row["trial"] for row in rows(folder)] == ["0", "1", "2", "3"]
    assert len({row["optimizer.lr"] for row in rows(folder)}) == 4
    output = capsys.readouterr().out
    assert "\noptimizer.lr=0.01\n" in output
    assert "complete, best" in output
    assert (folder / "sweep.svg").read_text().count("<circle") == 8  # a plot over trials, and one over the key


def test_minutes_are_the_budget_of_each_trial(trials, tmp_path):
    words = ["--vary", "optimizer.lr=0.1,0.2", "--minutes", "1.5"]
    assert tune(tmp_path, "sweep", "mine.yaml", *words, "--output", str(tmp_path / "out")) == 0
    assert [words[-2:] for words, _ in trials] == [["--minutes", "1.5"]] * 2


def test_combinations_of_choices_are_tried_once(trials, tmp_path):
    words = ["--vary", "optimizer.lr=0.01,0.02", "--vary", "model.backbone=cifar_resnet20,cifar_resnet32"]
    assert tune(tmp_path, "sweep", "mine.yaml", *words, "--epochs", "1", "--trials", "50") == 0
    assert len({tuple(words) for words, _ in trials}) == len(trials) == 4
    assert trials[0][0][1:3] == ["optimizer.lr=0.01", "model.backbone=cifar_resnet20"]


def test_a_failed_trial_is_recorded_and_the_sweep_goes_on(tmp_path, monkeypatch, capsys):
    results = iter([TrialResult(0.3, 1.0, ""), TrialResult(None, 0.1, "the loss is no longer finite"), None])
    monkeypatch.setattr(sweep, "run_trial", lambda *_: next(results) or TrialResult(0.4, 1.0, ""))
    assert tune(tmp_path, "sweep", "mine.yaml", *VARY, "--trials", "3") == 0
    found = rows(tmp_path / "tune/mine/sweep/1")
    assert [row["state"] for row in found] == ["complete", "the loss is no longer finite", "complete"]
    assert [row["val/top1"] for row in found] == ["0.3", "", "0.4"]


def test_if_all_trials_fail_the_reason_is_an_error(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sweep, "run_trial", lambda *_: TrialResult(None, 0.1, "a full disk"))
    assert tune(tmp_path, "sweep", "mine.yaml", *VARY, "--trials", "2") == 2
    assert "all 2 trials failed, the last one: a full disk" in capsys.readouterr().err


def test_an_interrupted_sweep_repeats_its_trial_and_continues(trials, tmp_path, monkeypatch, capsys):
    run = interrupt(monkeypatch, trials, after=2)
    assert tune(tmp_path, "sweep", "mine.yaml", *VARY, "--trials", "4") == 130
    assert "visionkit tune sweep --resume tune/mine/sweep/1" in capsys.readouterr().err
    monkeypatch.setattr(sweep, "run_trial", run)
    folder = tmp_path / "tune/mine/sweep/1"
    assert tune(tmp_path, "sweep", "--resume", "tune/mine/sweep/1") == 0
    assert [row["trial"] for row in rows(folder)] == ["0", "1", "3", "4"]  # trial 2 was interrupted; 3 repeats it
    assert len({row["optimizer.lr"] for row in rows(folder)}) == 4
    assert tune(tmp_path, "sweep", "--resume", str(folder), "--trials", "5") == 0
    assert len(trials) == len(rows(folder)) == 5
    assert yaml.safe_load((folder / "sweep.yaml").read_text())["trials"] == 5


HOLD = """
import pathlib, sys
from visionkit.engine.run_lock import run_lock
with run_lock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_sweep_that_still_runs_is_not_changed(trials, tmp_path, capsys):
    assert tune(tmp_path, "sweep", "mine.yaml", *VARY, "--trials", "1") == 0
    folder = tmp_path / "tune/mine/sweep/1"
    Study(folder, parse_space(VARY[1:2]), 0).ask()  # the trial that runs
    before = {name: (folder / name).read_bytes() for name in ("sweep.yaml", JOURNAL)}
    command = [sys.executable, "-c", HOLD, folder]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        assert tune(tmp_path, "sweep", "--resume", str(folder), "--trials", "3") == 2
        process.stdin.close()
    assert "is being trained by process" in capsys.readouterr().err
    assert {name: (folder / name).read_bytes() for name in before} == before
    assert len(trials) == 1


@pytest.mark.parametrize("counts", [("1", "3", "50"), ("3", "50")])
def test_a_continued_grid_tries_the_other_combinations_once(counts, trials, tmp_path):
    words = ["--vary", "optimizer.lr=0.01,0.02,0.03", "--vary", "seed=1,2", "--epochs", "1"]
    first, *others = counts
    assert tune(tmp_path, "sweep", "mine.yaml", *words, "--trials", first) == 0
    for count in others:
        assert tune(tmp_path, "sweep", "--resume", "tune/mine/sweep/1", "--trials", count) == 0
        assert len({tuple(words) for words, _ in trials}) == len(trials) == min(int(count), 6)
    assert yaml.safe_load((tmp_path / "tune/mine/sweep/1/sweep.yaml").read_text())["trials"] == 6


def test_a_continued_grid_repeats_an_interrupted_combination_alone(trials, tmp_path, monkeypatch):
    words = ["--vary", "optimizer.lr=0.01,0.02,0.03,0.04", "--epochs", "1", "--trials", "3"]
    run = interrupt(monkeypatch, trials, after=1)
    assert tune(tmp_path, "sweep", "mine.yaml", *words) == 130
    monkeypatch.setattr(sweep, "run_trial", run)
    assert tune(tmp_path, "sweep", "--resume", "tune/mine/sweep/1", "--trials", "4") == 0
    tried = [row["optimizer.lr"] for row in rows(tmp_path / "tune/mine/sweep/1")]
    assert sorted(tried) == ["0.01", "0.02", "0.03", "0.04"]


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (["--vary", "optimizer.lr=0.1,-1"], ["optimizer.lr=-1: optimizer.lr=-1.0 must be above 0"]),
        (["--vary", "optimizer.lr=0.1,x"], ["optimizer.lr=x: optimizer.lr is 'x', and must be: float"]),
        (["--vary", "optimizer.lrr=1,2"], ["optimizer.lrr=1: unknown key", "optimizer.lrr=2: unknown key"]),
        (
            ["--vary", "model.backbone=resnet5,resnet18", "--vary", "optimizer.momentum=uniform:0.5:1.5"],
            ["unknown name 'resnet5'", "optimizer.momentum=1.5 must be"],
        ),
        (["--vary", "ema.decay=0.9,2"], ["ema.decay=2"]),
        (["--vary", "trainer.precision=32-true,64-tru"], ["64-tru"]),
    ],
)
def test_all_wrong_values_are_named_before_the_first_trial(words, messages, trials, tmp_path, capsys):
    assert tune(tmp_path, "sweep", "mine.yaml", *words, "--epochs", "1") == 2
    error = capsys.readouterr().err
    text = re.sub(r"\s+", " ", error[error.index("visionkit:") :])
    for message in messages:
        assert message in text
    assert len(error[error.index("visionkit:") :].strip().splitlines()) <= 5
    assert not trials
    assert not (tmp_path / "tune").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mine.yaml"], "a sweep needs --vary"),
        (["mine.yaml", "--vary", "seed=1,2"], "--minutes M or --epochs N"),
        (["mine.yaml", "--vary", "seed=1,2", "--minutes", "1", "--epochs", "1"], "--minutes M or --epochs N"),
        (["mine.yaml", "--vary", "seed=1,2", "--minutes", "0"], "must be above 0"),
        (["--resume", "x", "--minutes", "1"], "only --trials can be given"),
        (["--resume", "x", "--plugin", "own.py"], "only --trials can be given"),
    ],
)
def test_missing_options_are_usage_errors(words, message, tmp_path, capsys):
    with pytest.raises(SystemExit):
        tune(tmp_path, "sweep", *words)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("word", ["trainer.accelerator=nonsense", "trainer.precision=64-tru"])
def test_what_is_wrong_in_the_recipe_itself_is_no_fault_of_the_values(word, trials, tmp_path, capsys):
    assert tune(tmp_path, "sweep", "mine.yaml", word, *VARY) == 2
    error = capsys.readouterr().err
    assert "--vary" not in error
    assert word.partition("=")[2] in error
    assert not trials


def test_the_words_are_read_again_before_a_sweep_continues(trials, tmp_path, capsys):
    assert tune(tmp_path, "sweep", "mine.yaml", *VARY, "--trials", "1") == 0
    other = tmp_path / "other"
    other.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(other)
        assert main(["tune", "sweep", "--resume", "../tune/mine/sweep/1", "--trials", "2"]) == 2
    assert "there is no recipe or data card mine.yaml" in capsys.readouterr().err
    assert len(trials) == 1


def test_a_folder_without_a_sweep_cannot_continue(tmp_path, capsys):
    assert tune(tmp_path, "sweep", "--resume", str(tmp_path)) == 2
    assert "is not the folder of a sweep" in capsys.readouterr().err


def test_data_without_val_cannot_be_compared(trials, tmp_path, capsys):
    recipe = RECIPE.replace(", val: {split: val, count: 8, size: 32}", "")
    assert tune(tmp_path, "sweep", "mine.yaml", *VARY, recipe=recipe) == 2
    assert "does not have: set data.holdout" in capsys.readouterr().err


def test_without_optuna_the_extra_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    for module in ("sweep", "sweep_report", "study"):
        monkeypatch.delitem(sys.modules, f"visionkit.cli.tuning.{module}")
    assert tune(tmp_path, "sweep", "mine.yaml", *VARY) == 2
    assert "pip install 'visionkit[tune]'" in capsys.readouterr().err


@pytest.mark.slow
def test_trials_are_runs_in_processes_of_their_own(tmp_path, capsys):
    """The second learning rate diverges, which fails its trial alone."""
    words = ["--vary", "optimizer.lr=0.01,1e+30", "--epochs", "2"]
    assert tune(tmp_path, "sweep", "mine.yaml", *words) == 0
    folder = tmp_path / "tune/mine/sweep/1"
    good, bad = rows(folder)
    assert good["state"] == "complete"
    assert 0 <= float(good["val/top1"]) <= 1
    assert "the loss is no longer finite" in bad["state"]
    assert {"best.ckpt", "recipe.yaml", "finished.yaml"} <= {file.name for file in (folder / "trial-0").iterdir()}
    assert not (tmp_path / "runs").exists()
