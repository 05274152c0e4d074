"""Table, CSV file and plot of the trials of a sweep."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from visionkit.cli.tuning.output import write_csv
from visionkit.cli.tuning.search_space import Choices, Dimension
from visionkit.cli.tuning.study import TrialRow
from visionkit.report.plots import find_ticks
from visionkit.report.scatter_plots import Axis, Plot, Point, write_plots


def best_row(rows: Sequence[TrialRow]) -> TrialRow | None:
    """Return the first trial with the best metric; None if all have failed."""
    scored = [row for row in rows if row.metric is not None]
    return max(scored, key=lambda row: row.metric or 0.0, default=None)


def write_files(rows: Sequence[TrialRow], space: Sequence[Dimension], monitor: str, folder: Path) -> None:
    """Write sweep.csv and sweep.svg."""
    keys = [dimension.key for dimension in space]
    lines = [
        (
            row.number,
            *(row.values[key] for key in keys),
            None if row.metric is None else f"{row.metric:.6g}",
            f"{row.minutes:.2f}",
            row.state,
        )
        for row in rows
    ]
    write_csv(folder / "sweep.csv", ["trial", *keys, monitor, "minutes", "state"], lines)
    if best_row(rows) is not None:
        write_plots(folder / "sweep.svg", f"Sweep: best {monitor} of each trial", _plots(rows, space, monitor))


def _plots(rows: Sequence[TrialRow], space: Sequence[Dimension], monitor: str) -> list[Plot]:
    """Return a plot over the trials, and one over the values of each key."""
    best, metric = best_row(rows), Axis(monitor)
    scored = [(row, row.metric) for row in rows if row.metric is not None]
    over_trials = [Point(row.number, value, _text(row), row is best) for row, value in scored]
    plots = [Plot(Axis("trial", ticks=_whole_ticks([row.number for row, _ in scored])), metric, over_trials)]
    for dimension in space:
        points = [
            Point(_place(dimension, row.values[dimension.key]), value, _text(row), row is best) for row, value in scored
        ]
        plots.append(Plot(_axis(dimension), metric, points))
    return plots


def _whole_ticks(numbers: Sequence[int]) -> tuple[float, ...]:
    """Return whole numbers for the axis of the trials."""
    return tuple(tick for tick in find_ticks(min(numbers), max(numbers) + 1) if tick % 1 == 0 and tick <= max(numbers))


def _axis(dimension: Dimension) -> Axis:
    if isinstance(dimension, Choices):
        return Axis(dimension.key, names=tuple(_ordered(dimension.values)))
    return Axis(dimension.key, logarithmic=dimension.kind == "log")


def _ordered(values: Sequence[str]) -> list[str]:
    """Return numbers in rising order, and other values as they are given."""
    try:
        return sorted(values, key=float)
    except ValueError:
        return list(values)


def _place(dimension: Dimension, value: str) -> float:
    return _ordered(dimension.values).index(value) if isinstance(dimension, Choices) else float(value)


def _text(row: TrialRow) -> str:
    return f"trial {row.number}: {row.metric:.4f} with " + ", ".join(f"{k}={v}" for k, v in row.values.items())


def print_table(rows: Sequence[TrialRow], space: Sequence[Dimension], monitor: str) -> None:
    """Print the trials, the best one first."""
    best = best_row(rows)
    keys = [dimension.key for dimension in space]
    folded = [Column(escape(key), overflow="fold") for key in keys]
    table = Table("trial", *folded, monitor, "minutes", "state")
    for row in sorted(rows, key=lambda row: (row.metric is None, -(row.metric or 0.0), row.number)):
        metric = "" if row.metric is None else f"{row.metric:.4f}"
        state = f"{row.state}, best" if row is best else row.state
        values = [escape(row.values[key]) for key in keys]
        table.add_row(str(row.number), *values, metric, f"{row.minutes:.1f}", escape(state))
    Console().print(table)
