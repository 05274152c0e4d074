"""Tables of results for the terminal."""

import math

from rich.table import Table


def number(value: float) -> str:
    """Four decimals, or n/a for what is not defined (no such objects)."""
    return "n/a" if math.isnan(value) else f"{value:.4f}"


def overall_table(results: dict[str, float], title: str) -> Table:
    """The metrics over all classes, one row each."""
    table = Table("metric", "value", title=title)
    for name, value in results.items():
        if "/" not in name:
            table.add_row(name, number(value))
    return table


def class_table(results: dict[str, float], class_names: list[str]) -> Table:
    """The metrics by class: a row each class, a column each figure that is known by class."""
    metrics = list(dict.fromkeys(name.split("/", 1)[0] for name in results if "/" in name))
    table = Table("class", *metrics)
    for class_name in class_names:
        table.add_row(class_name, *(number(results.get(f"{figure}/{class_name}", math.nan)) for figure in metrics))
    return table
