"""Plots of a training from the metrics.csv of its run folder."""

import csv
import math
from pathlib import Path

from visionkit.report.plots import LinePlot, Series, line_plot

MAIN_LOSSES = ("train/loss", "val/loss")
LEARNING_RATE = "lr-"
"""Beginning of the columns of learning rates."""


def training_curves(path: Path, metric: str) -> list[LinePlot]:
    """Return the plots of losses, main metric and learning rates; none if the file does not exist.

    Args:
        path: path of metrics.csv.
        metric: name of the main metric, such as "val/AP".
    """
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if (row.get("step") or "").isdecimal()]
    names = list(rows[0]) if rows else []
    rates = [name for name in names if name.startswith(LEARNING_RATE)]
    plots = [
        line_plot("Losses", _series(rows, MAIN_LOSSES), ("step", "loss")),
        line_plot("Main metric", _series(rows, (metric,)), ("step", metric)),
        line_plot("Learning rate", _series(rows, rates), ("step", "learning rate")),
    ]
    return [plot for plot in plots if plot is not None]


def _series(rows: list[dict[str, str]], names: tuple[str, ...] | list[str]) -> dict[str, Series]:
    """Return the points of the columns that have any; the legend shows the last value."""
    found = {}
    for name in names:
        pairs = [(int(row["step"]), _number(row.get(name))) for row in rows]
        pairs = [pair for pair in pairs if math.isfinite(pair[1])]
        if pairs:
            steps, values = zip(*pairs, strict=True)
            found[name] = Series(steps, values, f"{values[-1]:.4g}")
    return found


def _number(text: str | None) -> float:
    """Return the value of a cell; NaN for an empty or incomplete one."""
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
