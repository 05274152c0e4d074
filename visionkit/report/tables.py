"""Tables of results for the terminal."""

import math

from rich.markup import escape
from rich.table import Table

from visionkit.metrics.results import Interval, MetricResults


def number(value: float) -> str:
    """Return a value with four decimals, or n/a if it is undefined."""
    return "n/a" if math.isnan(value) else f"{value:.4f}"


def interval_text(interval: Interval | None) -> str:
    """Return a confidence interval, or nothing if there is none."""
    return "" if interval is None else f"{interval.low:.3f} to {interval.high:.3f}"


def overall_table(results: MetricResults, title: str) -> Table:
    """Return a table of the metrics over all classes, with one row per metric and their confidence intervals."""
    intervals = results.intervals.overall
    table = Table("metric", "value", *(["95 % interval"] if intervals else []), title=escape(title))
    for name, value in results.overall.items():
        table.add_row(escape(name), number(value), *([interval_text(intervals.get(name))] if intervals else []))
    return table


def class_table(results: MetricResults, class_names: list[str], title: str | None = None) -> Table:
    """Return a table of the metrics per class, with one row per class and one column per metric.

    The first metric also has a column of confidence intervals, if it has them.
    """
    first = next(iter(results.per_class))
    intervals = results.intervals.per_class.get(first, {})
    names = [first, *(["95 % interval"] if intervals else []), *list(results.per_class)[1:]]
    table = Table("class", *map(escape, names), title=None if title is None else escape(title))
    for class_name in class_names:
        values = [number(values[class_name]) for values in results.per_class.values()]
        if intervals:
            values.insert(1, interval_text(intervals.get(class_name)))
        table.add_row(escape(class_name), *values)
    return table
