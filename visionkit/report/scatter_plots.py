"""Points and lines over linear, logarithmic and named axes, as an SVG file."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from visionkit.data.io.atomic_write import write_text
from visionkit.report.page_file import template
from visionkit.report.plots import MOST_TICKS, Tick, find_ticks

WIDTH, HEIGHT = 360, 220
"""Size of the plotted area of a panel in units of the SVG."""

MARK_TEXT = 120
"""Width of the text of a mark."""


@dataclass(frozen=True)
class Axis:
    """Axis of a plot.

    Attributes:
        title: quantity and unit.
        logarithmic: whether equal distances are equal ratios.
        names: texts of the values 0, 1, 2, ...; none for numbers.
        ticks: numbers with a tick; none chooses round ones.
    """

    title: str
    logarithmic: bool = False
    names: tuple[str, ...] = ()
    ticks: tuple[float, ...] = ()


@dataclass(frozen=True)
class Point:
    """Point of a plot. `text` is shown on hovering, and `best` points are highlighted."""

    x: float
    y: float
    text: str = ""
    best: bool = False


@dataclass(frozen=True)
class Plot:
    """Points and a line over two axes.

    Attributes:
        x: horizontal axis.
        y: vertical axis.
        points: points.
        line: positions that a line connects.
        marks: values of x at which a vertical line is drawn, by their text; the first one is highlighted.
        highest: largest y that is shown in full; points above it lie on the upper edge. None shows everything.
    """

    x: Axis
    y: Axis
    points: Sequence[Point] = ()
    line: Sequence[tuple[float, float]] = ()
    marks: Mapping[str, float] = field(default_factory=dict)
    highest: float | None = None


class Mark(NamedTuple):
    """Drawn vertical line, and whether its text is on its left side."""

    at: float
    text: str
    is_left: bool
    is_first: bool


class Dot(NamedTuple):
    """Drawn point."""

    x: float
    y: float
    text: str
    best: bool


class Panel(NamedTuple):
    """Drawn plot: its place in the image, ticks, points and the line as an SVG path."""

    left: float
    top: float
    plot: Plot
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    dots: list[Dot]
    path: str
    marks: list[Mark]


@dataclass(frozen=True)
class _Scale:
    """Positions of values on an axis of a length."""

    low: float
    high: float
    length: float
    axis: Axis

    def at(self, value: float) -> float:
        low, high = self.low, self.high
        if self.axis.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return round((value - low) / (high - low) * self.length, 1)

    def ticks(self) -> list[Tick]:
        if self.axis.names:
            return [Tick(self.at(index), _short(name)) for index, name in enumerate(self.axis.names)]
        find = _log_ticks if self.axis.logarithmic else find_ticks
        values = self.axis.ticks or find(self.low, self.high)
        return [Tick(self.at(value), f"{value:.4g}") for value in values]


def write_plots(path: Path, title: str, plots: Sequence[Plot], columns: int = 2) -> None:
    """Write plots into an SVG file, in rows of at most `columns`."""
    columns = min(columns, len(plots))
    width, height = WIDTH + 100, HEIGHT + 90
    panels = [
        _panel(plot, 70 + width * (number % columns), 56 + height * (number // columns))
        for number, plot in enumerate(plots)
    ]
    size = (width * columns + 10, 40 + height * math.ceil(len(plots) / columns))
    page = template("scatter_plots.svg").render(title=title, panels=panels, size=size, width=WIDTH, height=HEIGHT)
    write_text(path, page)


def _panel(plot: Plot, left: float, top: float) -> Panel:
    highest = math.inf if plot.highest is None else plot.highest
    xs = [*(point.x for point in plot.points), *(x for x, _ in plot.line), *plot.marks.values()]
    ys = [min(y, highest) for y in [*(point.y for point in plot.points), *(y for _, y in plot.line)]]
    x, y = _scale(xs, plot.x, WIDTH), _scale(ys, plot.y, HEIGHT)

    def place(at: float, value: float) -> tuple[float, float]:
        return x.at(at), round(HEIGHT - y.at(min(value, highest)), 1)

    dots = [Dot(*place(point.x, point.y), point.text, point.best) for point in plot.points]
    path = "L".join(f"{a} {b}" for a, b in (place(*position) for position in plot.line))
    y_ticks = [Tick(round(HEIGHT - tick.at, 1), tick.text) for tick in y.ticks()]
    return Panel(left, top, plot, x.ticks(), y_ticks, dots, path and f"M{path}", _marks(plot, x))


def _marks(plot: Plot, x: _Scale) -> list[Mark]:
    """Return the marks. Texts are outside of several lines, and towards the middle of the plot at a single one."""
    middle = WIDTH / 2 if len(plot.marks) < 2 else math.fsum(map(x.at, plot.marks.values())) / len(plot.marks)
    marks = []
    for index, (text, value) in enumerate(plot.marks.items()):
        at = x.at(value)
        room = at if at < middle else WIDTH - at
        is_outside = len(plot.marks) > 1 and room > MARK_TEXT
        marks.append(Mark(at, text, (at < middle) == is_outside, index == 0))
    return marks


def _scale(values: Sequence[float], axis: Axis, length: float) -> _Scale:
    """Return a scale on which all values have a place, with a margin."""
    if axis.names:
        return _Scale(-0.5, len(axis.names) - 0.5, length, axis)
    low, high = min(values, default=0.0), max(values, default=1.0)
    if axis.logarithmic:
        margin = max((high / low) ** 0.04, 1.1)
        return _Scale(low / margin, high * margin, length, axis)
    margin = 0.06 * (high - low) or max(abs(high) * 0.1, 1e-6)
    return _Scale(low - margin, high + margin, length, axis)


def _log_ticks(low: float, high: float) -> list[float]:
    """Return powers of ten within the limits, or also 2 and 5 times these if there are few."""
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    tens = [10.0**exponent for exponent in exponents if low <= 10.0**exponent <= high]
    if len(tens) > 2:
        return tens[:: -(-len(tens) // MOST_TICKS)]
    fine = [factor * 10.0**exponent for exponent in exponents for factor in (1, 2, 5)]
    return [value for value in fine if low <= value <= high]


def _short(text: str) -> str:
    return text if len(text) <= 14 else f"{text[:6]}…{text[-7:]}"
