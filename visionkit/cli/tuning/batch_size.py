"""`visionkit tune batch-size`: the batch sizes that fit the memory, and the fastest for the same effective batch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch import Trainer
from rich.console import Console
from rich.table import Table

from visionkit.cli.logs import show_progress_messages
from visionkit.cli.tuning.output import result_folder, write_csv
from visionkit.cli.tuning.short_run import run_finder, short_trainer, task_and_data
from visionkit.data.datamodule import VisionData
from visionkit.engine.batch_size_finder import FASTER, TaskBatchSizeFinder, choose_batch_size
from visionkit.report.scatter_plots import Axis, Plot, Point, write_plots
from visionkit.tasks import Task

MOST_ON_GPU = 1024
"""Largest batch size that is tried on a GPU without --max."""

LEAST_ON_CPU = 8
"""Smallest limit of the batch sizes on a CPU without --max, which is otherwise twice the batch size of the recipe."""


def tune_batch_size(
    recipe: dict[str, Any], *, name: str, steps: int, largest: int | None, effective: int | None, output: str | None
) -> int:
    """Double the batch size, print what was measured and what it suggests, and write the numbers and their plot.

    Args:
        recipe: the composed recipe.
        name: name of the recipe.
        steps: optimizer steps per batch size.
        largest: largest batch size that is tried; None for `MOST_ON_GPU`, and less on a CPU.
        effective: images per optimizer step; None for that of the recipe.
        output: folder of the files; None makes one below `tune/<name>/`.
    """
    show_progress_messages()
    task, data = task_and_data(recipe)
    given = data.batch_size
    trainer_options = recipe.get("trainer") or {}
    alone = {**recipe, "trainer": {**trainer_options, "accumulate_grad_batches": 1}}
    with short_trainer(alone, steps) as trainer:
        limit = _limit(trainer, data, largest)
        seconds = _measure(trainer, task, data, limit, steps)
    speeds = {size: size / taken for size, taken in seconds.items()}
    folder = result_folder(name, "batch-size", output)
    _write(speeds, given, folder)
    _print_speeds(speeds, _measured(speeds, limit, str(trainer.strategy.root_device), steps))
    _print_choice(speeds, given, given * int(trainer_options.get("accumulate_grad_batches") or 1), effective)
    files = f"numbers: {folder / 'batch_size.csv'}, plot: {folder / 'batch_size.svg'}"
    Console().print(files, soft_wrap=True, markup=False)
    return 0


def _limit(trainer: Trainer, data: VisionData, largest: int | None) -> int:
    """Return the largest batch size that is tried."""
    on_cpu = trainer.strategy.root_device.type == "cpu"
    usual = max(2 * data.batch_size, LEAST_ON_CPU) if on_cpu else MOST_ON_GPU
    return min(largest or usual, len(data.dataset("train")))


def _measure(trainer: Trainer, task: Task, data: VisionData, limit: int, steps: int) -> dict[int, float]:
    """Return the seconds of a step by batch size. All sizes are that of the recipe times or by a power of two."""
    first = data.batch_size
    while first > limit or (first > 2 and first % 2 == 0):
        first = max(first // 2, 1)
    finder = TaskBatchSizeFinder(first, limit, steps)
    run_finder(trainer, finder, task, data)
    return dict(sorted(finder.seconds.items()))


def _measured(speeds: Mapping[int, float], limit: int, device: str, steps: int) -> str:
    """Return what was measured, and whether the memory was full."""
    what = f"median of {steps} steps on {device}, with loading and augmentation of the images"
    if 2 * max(speeds) <= limit:
        return f"{what}; {2 * max(speeds)} images do not fit the memory"
    memory = "; a full memory of the machine cannot be told in advance" if device == "cpu" else ""
    return f"{what}; larger ones than {limit} were not tried{memory}"


def _write(speeds: Mapping[int, float], given: int, folder: Path) -> None:
    """Write batch_size.csv and batch_size.svg."""
    rows = [(size, f"{size / speed:.4g}", f"{speed:.4g}") for size, speed in speeds.items()]
    write_csv(folder / "batch_size.csv", ["data.batch_size", "seconds_per_step", "images_per_second"], rows)
    points = [Point(size, speed, f"{size}: {speed:.4g} images/s") for size, speed in speeds.items()]
    axis = Axis("data.batch_size", logarithmic=True, ticks=tuple(speeds))
    plot = Plot(axis, Axis("images/s"), points, list(speeds.items()), {f"recipe {given}": given})
    write_plots(folder / "batch_size.svg", "Speed of training by batch size", [plot])


def _print_speeds(speeds: Mapping[int, float], measured: str) -> None:
    console = Console()
    table = Table("batch size", "s/step", "images/s", "s/image")
    for size, speed in speeds.items():
        table.add_row(str(size), f"{size / speed:.3g}", f"{speed:.3g}", f"{1 / speed:.3g}")
    console.print(table)
    console.print(measured, soft_wrap=True, markup=False, highlight=False)


def _print_choice(speeds: Mapping[int, float], given: int, of_recipe: int, asked: int | None) -> None:
    """Print the overrides for the effective batch of the recipe, or for the one that was asked for."""
    console = Console()
    effective = asked or of_recipe
    chosen, fastest = choose_batch_size(speeds, given, effective), max(speeds, key=lambda size: speeds[size])
    words = f"data.batch_size={chosen} trainer.accumulate_grad_batches={effective // chosen}"
    console.print(words, markup=False, highlight=False)
    is_kept = effective == of_recipe
    effect = "keeps the effective batch of" if is_kept else f"changes the effective batch from {of_recipe} to"
    console.print(f"this {effect} {effective} images", markup=False, highlight=False)
    if fastest > effective and speeds[fastest] > FASTER * speeds.get(chosen, 0.0):
        text = f"{fastest} images a step are faster, {speeds[fastest]:.3g} images/s, but change the effective batch: "
        console.print(f"{text}--effective {fastest}", soft_wrap=True, markup=False, highlight=False)
