"""`visionkit tune lr`: the learning rate that a range test suggests for a recipe."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from visionkit.cli.logs import show_progress_messages
from visionkit.cli.tuning.output import result_folder, write_csv
from visionkit.cli.tuning.short_run import run_finder, short_trainer, task_and_data
from visionkit.engine.lr_curve import LRCurve, LRSuggestion, smooth, suggest_lr
from visionkit.engine.lr_finder import TaskLRFinder
from visionkit.errors import VisionkitError
from visionkit.report.scatter_plots import Axis, Plot, Point, write_plots

COMPARED = 1.5
"""Ratio to the recipe's learning rate from which a suggestion is another one."""


def tune_lr(
    recipe: dict[str, Any],
    *,
    words: Sequence[str],
    name: str,
    steps: int,
    lowest: float,
    highest: float,
    output: str | None,
) -> int:
    """Run a learning rate range test, print the override that it suggests, and write its losses and their plot.

    Args:
        recipe: the composed recipe.
        words: its files and overrides, for the command that compares the suggestion with it.
        name: name of the recipe.
        steps: number of optimizer steps.
        lowest: first value of `optimizer.lr`.
        highest: last value of `optimizer.lr`, if the loss does not diverge before.
        output: folder of the files; None makes one below `tune/<name>/`.

    Raises:
        VisionkitError: the loss is not finite in the first step.
    """
    show_progress_messages()
    task, data = task_and_data(recipe)
    finder = TaskLRFinder(lowest, highest, steps)
    with short_trainer(recipe, steps) as trainer:
        run_finder(trainer, finder, task, data)
    if not finder.curve.losses.size:
        raise VisionkitError(
            f"the loss is not finite at optimizer.lr={lowest:g}, in the first step of the test\n"
            "lower --min, set trainer.precision=32-true, and look at the images and labels: visionkit data show"
        )
    given = task.optimizer_options.lr
    suggestion = suggest_lr(finder.curve)
    folder = result_folder(name, "lr", output)
    _write(finder.curve, suggestion, given, folder)
    _print(suggestion, given, words, folder)
    return 0


def _write(curve: LRCurve, suggestion: LRSuggestion, given: float, folder: Path) -> None:
    """Write lr.csv and lr.svg."""
    smoothed = smooth(curve)
    rows = [(f"{lr:.6g}", f"{loss:.6g}", f"{mean:.6g}") for lr, loss, mean in zip(*curve[:2], smoothed, strict=True)]
    write_csv(folder / "lr.csv", ["optimizer.lr", "loss", "smoothed_loss"], rows)
    suggested = {} if suggestion.lr is None else {f"suggested {suggestion.lr:g}": suggestion.lr}
    marks = {**suggested, f"recipe {given:g}": given}
    points = [Point(lr, loss) for lr, loss in zip(*curve[:2], strict=True)]
    line = list(zip(curve.lrs.tolist(), smoothed.tolist(), strict=True))
    highest = float(smoothed.max())
    plot = Plot(Axis("optimizer.lr", logarithmic=True), Axis("loss"), points, line, marks, highest)
    write_plots(folder / "lr.svg", "Loss while the learning rate rises", [plot])


def _print(suggestion: LRSuggestion, given: float, words: Sequence[str], folder: Path) -> None:
    console = Console()
    if suggestion.lr is not None:
        console.print(f"optimizer.lr={suggestion.lr:g}", markup=False, highlight=False)
    sentence = f"{suggestion.reason[0].upper()}{suggestion.reason[1:]}. The recipe has {given:g}."
    console.print(sentence, soft_wrap=True, markup=False, highlight=False)
    if suggestion.lr is not None and not 1 / COMPARED < suggestion.lr / given < COMPARED:
        values = f"--vary optimizer.lr={given:g},{suggestion.lr:g} --minutes 5"
        text = "This is no proof. Compare the two before you change the recipe: visionkit tune sweep"
        console.print(f"{text} {shlex.join(words)} {values}", soft_wrap=True, markup=False, highlight=False)
    console.print(f"losses: {folder / 'lr.csv'}, plot: {folder / 'lr.svg'}", soft_wrap=True, markup=False)
