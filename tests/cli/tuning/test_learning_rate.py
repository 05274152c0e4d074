"""`visionkit tune lr`: an override or none, losses and a plot, and nothing in runs/."""

import csv
import math

import numpy as np
import pytest

from tests.helpers.tuning import tune
from visionkit.cli.tuning import learning_rate
from visionkit.engine.lr_curve import LRCurve
from visionkit.engine.lr_finder import TaskLRFinder
from visionkit.tasks.classification import Classification


@pytest.fixture
def valley(monkeypatch):
    """Replace the losses by those of a clear valley with its minimum at 0.01."""
    lrs = np.logspace(-6, 1, 100)
    losses = 3 - 2 * np.exp(-((np.log10(lrs) + 2) ** 2))
    monkeypatch.setattr(learning_rate, "run_finder", lambda *_: None)
    monkeypatch.setattr(TaskLRFinder, "curve", property(lambda self: LRCurve(lrs, losses, 100)))


def test_the_override_is_printed_with_how_sure_it_is(valley, tmp_path, capsys):
    assert tune(tmp_path, "lr", "mine.yaml", "seed=3") == 0
    output = capsys.readouterr().out.splitlines()
    assert output[0].startswith("optimizer.lr=0.00")
    suggested = output[0].partition("=")[2]
    assert 0.003 < float(suggested) < 0.009
    assert output[1].endswith(f"95% of the fall is over at {suggested}. The recipe has 0.01.")
    assert f"visionkit tune sweep mine.yaml seed=3 --vary optimizer.lr=0.01,{suggested} --minutes 5" in output[2]


def test_a_suggestion_like_the_recipe_needs_no_comparison(valley, tmp_path, capsys):
    assert tune(tmp_path, "lr", "mine.yaml", "optimizer.lr=0.006") == 0
    assert "visionkit tune sweep" not in capsys.readouterr().out


def test_losses_and_plot_are_written_and_no_run(tmp_path, capsys):
    assert tune(tmp_path, "lr", "mine.yaml", "--steps", "20", "--max", "1e-5", "--output", str(tmp_path / "out")) == 0
    output = capsys.readouterr().out
    assert "optimizer.lr=" not in output
    assert "No clear minimum" in output
    assert {path.name for path in tmp_path.iterdir()} == {"mine.yaml", "out"}
    with (tmp_path / "out/lr.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 20
    assert float(rows[0]["optimizer.lr"]) == pytest.approx(1e-6)
    assert float(rows[-1]["optimizer.lr"]) == pytest.approx(1e-5)
    assert (tmp_path / "out/lr.svg").read_text().count("<circle") == 20


@pytest.mark.filterwarnings("error:.*(empty slice|invalid value):RuntimeWarning")
def test_a_loss_that_is_not_finite_from_the_start_is_an_error(tmp_path, monkeypatch, capsys):
    losses = Classification.training_losses

    def without_number(task, batch, step):
        return {name: loss * math.nan for name, loss in losses(task, batch, step).items()}

    monkeypatch.setattr(Classification, "training_losses", without_number)
    assert tune(tmp_path, "lr", "mine.yaml", "--min", "1e-5") == 2
    assert "the loss is not finite at optimizer.lr=1e-05" in capsys.readouterr().err
    assert not (tmp_path / "tune").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--min", "0"], "min=0.0 must be above 0"),
        (["--min", "1", "--max", "0.1"], "max=0.1 must be above 1.0"),
        (["--steps", "3"], "steps=3 must be at least 20"),
        (["trainer.devices=2"], "trainer.accumulate_grad_batches=2, which keeps the effective batch"),
        (["optimizer.lr=0"], "lr=0"),
    ],
)
def test_what_cannot_be_tuned_is_an_error(words, message, tmp_path, capsys):
    assert tune(tmp_path, "lr", "mine.yaml", *words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert not (tmp_path / "tune").exists()


def test_a_recipe_is_needed(tmp_path, capsys):
    assert tune(tmp_path, "lr", "seed=1") == 2
    assert "a recipe is missing" in capsys.readouterr().err
    assert tune(tmp_path, "lr", "shapes", "seed=1") == 2
    assert "visionkit fit shapes seed=1 --dry-run > my_recipe.yaml" in capsys.readouterr().err


def test_an_option_of_another_action_is_a_usage_error(tmp_path, capsys):
    with pytest.raises(SystemExit):
        tune(tmp_path, "lr", "mine.yaml", "--trials", "3")
    assert "--trials goes with `visionkit tune sweep`" in capsys.readouterr().err
