"""Histograms as coordinates of SVG shapes, one panel per split with the same axes."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visionkit.data.stats.distributions import Histogram, make_histogram

WIDTH, HEIGHT = 320, 110
"""Size of the plotted area in units of the SVG."""


class Bar(NamedTuple):
    """Bar of a histogram, and its text."""

    x: float
    y: float
    width: float
    height: float
    text: str


class Tick(NamedTuple):
    """Position on the horizontal axis, and its text."""

    x: float
    text: str


class Panel(NamedTuple):
    """Histogram of one split. `summary` is its content in words."""

    split: str
    bars: list[Bar]
    summary: str


class Chart(NamedTuple):
    """Histograms of all splits.

    Attributes:
        title: what is counted.
        top: share at the upper end of the vertical axis.
        ticks: marks of the horizontal axis.
        marks: vertical lines.
        panels: one per split; none if all values are the same.
        same: the value of everything, if all values are the same.
    """

    title: str
    top: str
    ticks: list[Tick]
    marks: list[Tick]
    panels: list[Panel]
    same: str = ""


class Cell(NamedTuple):
    """Cell of a heat map: column, row, opacity and text."""

    column: int
    row: int
    opacity: float
    text: str


def make_chart(
    title: str,
    values: Mapping[str, NDArray[np.generic]],
    per_octave: int | None = None,
    marks: tuple[float, ...] = (),
) -> Chart | None:
    """Return the histograms of some values by split; None if there are no values.

    Args:
        title: what is counted.
        values: values by split.
        per_octave: see `make_histogram`.
        marks: values at which a vertical line is drawn.
    """
    if not any(map(len, values.values())):
        return None
    everything = np.concatenate([*values.values()])
    if everything.min() == everything.max():
        return Chart(title, "", [], [], [], _number(float(everything[0])))
    histogram = make_histogram(values, per_octave)
    highest = max(float((counts / max(counts.sum(), 1)).max()) for counts in histogram.counts.values())
    places = _positions(histogram.edges, histogram.edges, per_octave is not None)
    panels = [
        Panel(split, _bars(histogram, counts, places, highest), _summary(values[split]))
        for split, counts in histogram.counts.items()
    ]
    inside = [mark for mark in marks if histogram.edges[0] < mark < histogram.edges[-1]]
    at = _positions(np.array(inside, np.float64), histogram.edges, per_octave is not None)
    lines = [Tick(round(float(x), 1), _number(mark)) for x, mark in zip(at, inside, strict=True)]
    return Chart(title, f"{highest:.0%}", _ticks(histogram.edges, places, per_octave or 1), lines, panels)


def heat_map(counts: NDArray[np.int64]) -> list[Cell]:
    """Return the cells of a map that have a count."""
    rows, columns = np.nonzero(counts)
    found = zip(columns.tolist(), rows.tolist(), counts[rows, columns].tolist(), strict=True)
    highest = max(int(counts.max()), 1)
    return [Cell(column, row, round(count / highest, 3), str(count)) for column, row, count in found]


def _positions(values: NDArray[np.float64], edges: NDArray[np.float64], logarithmic: bool) -> NDArray[np.float64]:
    if logarithmic:
        values, edges = np.log(values), np.log(edges)
    return (values - edges[0]) / (edges[-1] - edges[0]) * WIDTH


def _bars(histogram: Histogram, counts: NDArray[np.int64], places: NDArray[np.float64], highest: float) -> list[Bar]:
    heights = counts / max(counts.sum(), 1) / highest * HEIGHT
    bars = []
    for index in np.flatnonzero(counts):
        left, right = places[index], places[index + 1]
        gap, height = min(1.0, (right - left) / 8), max(float(heights[index]), 1.0)
        text = f"{_interval(*histogram.edges[index : index + 2])}: {counts[index]}"
        bars.append(
            Bar(
                round(float(left + gap), 1),
                round(HEIGHT - height, 1),
                round(float(right - left - 2 * gap), 1),
                round(height, 1),
                text,
            )
        )
    return bars


def _ticks(edges: NDArray[np.float64], places: NDArray[np.float64], per_octave: int, most: int = 6) -> list[Tick]:
    """Return at most `most` ticks, on a logarithmic axis at powers of two if it has several."""
    octaves = np.flatnonzero(np.log2(edges) % 1 == 0) if per_octave > 1 else np.arange(len(edges))
    candidates = octaves if len(octaves) > 1 else np.arange(len(edges))
    chosen = candidates[:: -(-len(candidates) // most)]
    return [Tick(round(float(places[index]), 1), _number(edges[index])) for index in chosen]


def _summary(values: NDArray[np.generic]) -> str:
    if not len(values):
        return "no values"
    low, middle, high = (_number(value) for value in np.quantile(values.astype(np.float64), [0.05, 0.5, 0.95]))
    return f"median {middle}; 90 % from {low} to {high}"


def _interval(left: float, right: float) -> str:
    whole = float(left).is_integer() and right - left == 1
    return _number(left) if whole else f"{_number(left)} to {_number(right)}"


def _number(value: float) -> str:
    """Return a value with three significant digits, and integers in full."""
    return f"{value:.0f}" if value >= 100 or float(value).is_integer() else f"{value:.3g}"
