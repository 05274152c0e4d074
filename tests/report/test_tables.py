import math

from rich.console import Console

from visionkit.metrics.results import MetricResults
from visionkit.report.tables import class_table, number, overall_table


def test_tables_show_defined_and_undefined_metrics():
    results = MetricResults(
        {"AP": 0.25, "APl": math.nan}, {"AP": {"a": 0.5, "b": math.nan}, "AP50": {"a": 0.75, "b": math.nan}}
    )
    console = Console(record=True, width=80)
    console.print(overall_table(results, "val"), class_table(results, ["a", "b"]))
    text = console.export_text()
    assert "0.2500" in text
    assert "0.7500" in text
    assert text.count("n/a") == 3
    assert number(1 / 3) == "0.3333"


def test_names_with_markup_are_printed_as_they_are():
    names = ["[/red]", "[bold]", "[link=x]y"]
    results = MetricResults({"[/AP]": 0.5}, {"[/AP]": dict.fromkeys(names, 0.5)})
    console = Console(record=True, width=80)
    console.print(overall_table(results, "[/val]"), class_table(results, names))
    text = console.export_text()
    assert all(name in text for name in [*names, "[/val]", "[/AP]"])
