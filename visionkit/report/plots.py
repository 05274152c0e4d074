"""Plots of a report as coordinates of SVG shapes: lines, intervals, and matrices."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from visionkit.metrics.results import Interval

WIDTH, HEIGHT = 320, 220
"""Size of the plotted area of lines in units of the SVG."""

INTERVAL_WIDTH = 180
"""Width of the plotted area of intervals."""

MOST_TICKS = 5
STEPS = (1, 2, 2.5, 5, 10)
"""Distances of ticks, times a power of ten."""

MAX_POINTS = 400
"""Largest number of points of a line."""

Floats = NDArray[np.float64]
Range = tuple[float, float]


class Tick(NamedTuple):
    """Position on an axis, and its text."""

    at: float
    text: str


class Line(NamedTuple):
    """A line of a plot: name, SVG path, index of its color, and a number for the legend."""

    name: str
    path: str
    color: int
    value: str


class LinePlot(NamedTuple):
    """Lines in one coordinate system.

    Attributes:
        title: what is shown.
        x_label, y_label: names of the axes.
        x_ticks, y_ticks: their ticks.
        lines: the lines.
        diagonal: whether the line from the lower left to the upper right corner is drawn.
        summary: content in words.
    """

    title: str
    x_label: str
    y_label: str
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    lines: list[Line]
    diagonal: bool
    summary: str


class IntervalRow(NamedTuple):
    """A value with its confidence interval: positions, and the text."""

    name: str
    at: float
    low: float | None
    high: float | None
    text: str


class IntervalPlot(NamedTuple):
    """Values of the classes, the highest first."""

    title: str
    ticks: list[Tick]
    rows: list[IntervalRow]


class MatrixCell(NamedTuple):
    """A cell: share of its row, and number."""

    share: float
    number: int


class Matrix(NamedTuple):
    """A confusion matrix.

    Attributes:
        title: what is counted.
        rows, columns: names.
        cells: the cells of each row.
    """

    title: str
    rows: list[str]
    columns: list[str]
    cells: list[list[MatrixCell]]


class Series(NamedTuple):
    """Points of a line, with the number that the legend shows beside its name."""

    x: ArrayLike
    y: ArrayLike
    value: str = ""


def line_plot(
    title: str,
    series: Mapping[str, Series],
    labels: tuple[str, str],
    x_range: Range | None = None,
    y_range: Range | None = None,
    diagonal: bool = False,
) -> LinePlot | None:
    """Return a plot of lines; None if there are no points.

    Args:
        title: what is shown.
        series: points of each line by name; points that are not finite are left out.
        labels: names of the axes.
        x_range: limits of the horizontal axis; None uses those of the points.
        y_range: limits of the vertical axis, likewise.
        diagonal: whether the diagonal is drawn.

    Example:
        >>> from visionkit.report.plots import Series, line_plot
        >>> plot = line_plot("Loss", {"train": Series([1, 2], [3.0, 1.0])}, ("epoch", "loss"))
        >>> plot.lines[0].path
        'M0.0,0.0L320.0,220.0'
    """
    points = {name: _finite(found) for name, found in series.items()}
    points = {name: pair for name, pair in points.items() if len(pair[0])}
    if not points:
        return None
    x_low, x_high = x_range or _limits([x for x, _ in points.values()])
    y_low, y_high = y_range or _limits([y for _, y in points.values()])
    names = list(series)
    lines = []
    for name, (x, y) in points.items():
        across = (x - x_low) / (x_high - x_low) * WIDTH
        down = (1 - (y - y_low) / (y_high - y_low)) * HEIGHT
        lines.append(Line(name, _path(across, down), names.index(name), series[name].value))
    x_ticks = [Tick((tick - x_low) / (x_high - x_low) * WIDTH, f"{tick:g}") for tick in find_ticks(x_low, x_high)]
    y_ticks = [
        Tick((1 - (tick - y_low) / (y_high - y_low)) * HEIGHT, f"{tick:g}") for tick in find_ticks(y_low, y_high)
    ]
    summary = "; ".join(f"{line.name} {line.value}".strip() for line in lines[:10])
    return LinePlot(title, *labels, x_ticks, y_ticks, lines, diagonal, f"{title}: {summary}")


def interval_plot(
    title: str, values: Mapping[str, float], intervals: Mapping[str, Interval], limits: Range = (0.0, 1.0)
) -> IntervalPlot:
    """Return the values of the classes with their intervals, the highest first; NaN is last, without a position.

    Args:
        title: name of the metric.
        values: value of each class.
        intervals: intervals of the classes that have one.
        limits: limits of the axis.
    """

    def position(value: float) -> float:
        return round((value - limits[0]) / (limits[1] - limits[0]) * INTERVAL_WIDTH, 1)

    rows = []
    for name in sorted(values, key=lambda name: (math.isnan(values[name]), -values[name])):
        value, found = values[name], intervals.get(name)
        text = "not defined" if math.isnan(value) else f"{value:.3f}"
        text += "" if found is None else f" ({found.low:.3f} to {found.high:.3f})"
        low, high = (None, None) if found is None else (position(found.low), position(found.high))
        rows.append(IntervalRow(name, -1.0 if math.isnan(value) else position(value), low, high, text))
    return IntervalPlot(title, [Tick(position(tick), f"{tick:g}") for tick in find_ticks(*limits)], rows)


def confusion_matrix(title: str, counts: Sequence[Sequence[int]], names: Sequence[str]) -> Matrix:
    """Return a confusion matrix whose shares are those of the rows.

    Args:
        title: what is counted.
        counts: counts [K][K], or [K + 1][K + 1] with background last.
        names: K names.
    """
    table = np.array(counts, np.int64)
    all_names = [*names, "background"][: len(table)]
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    cells = [
        [MatrixCell(round(share, 3), count) for share, count in zip(*row, strict=True)]
        for row in zip(shares.tolist(), table.tolist(), strict=True)
    ]
    return Matrix(title, all_names, all_names, cells)


def find_ticks(low: float, high: float) -> list[float]:
    """Return at most `MOST_TICKS` + 1 round numbers from `low` to `high`.

    Example:
        >>> from visionkit.report.plots import find_ticks
        >>> find_ticks(0, 1)
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    power = 10 ** math.floor(math.log10((high - low) / MOST_TICKS))
    step = next(step * power for step in STEPS if (high - low) / (step * power) <= MOST_TICKS + 1e-9)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _finite(found: Series) -> tuple[Floats, Floats]:
    x, y = np.asarray(found.x, np.float64), np.asarray(found.y, np.float64)
    keep = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if len(keep) > MAX_POINTS:
        keep = keep[np.unique(np.linspace(0, len(keep) - 1, MAX_POINTS).astype(int))]
    return x[keep], y[keep]


def _limits(values: Sequence[Floats]) -> Range:
    """Return the smallest and the largest value, with a distance above 0."""
    low, high = float(min(value.min() for value in values)), float(max(value.max() for value in values))
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _path(x: Floats, y: Floats) -> str:
    points = [f"{across:.1f},{down:.1f}" for across, down in zip(x.tolist(), y.tolist(), strict=True)]
    return "M" + "L".join(points if len(points) > 1 else points * 2)
