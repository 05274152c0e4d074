"""Tables of results for the terminal."""

import math

from rich.markup import escape
from rich.table import Table

from visionkit.metrics.results import MetricResults


def number(value: float) -> str:
    """Return a value with four decimals, or n/a if it is undefined."""
    return "n/a" if math.isnan(value) else f"{value:.4f}"


def overall_table(results: MetricResults, title: str) -> Table:
    """Return a table of the metrics over all classes, with one row per metric."""
    table = Table("metric", "value", title=escape(title))
    for name, value in results.overall.items():
        table.add_row(escape(name), number(value))
    return table


def class_table(results: MetricResults, class_names: list[str], title: str | None = None) -> Table:
    """Return a table of the metrics per class, with one row per class and one column per metric."""
    table = Table("class", *map(escape, results.per_class), title=None if title is None else escape(title))
    for class_name in class_names:
        table.add_row(escape(class_name), *(number(values[class_name]) for values in results.per_class.values()))
    return table
