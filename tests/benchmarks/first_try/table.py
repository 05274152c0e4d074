"""The Markdown table of the results."""

import statistics
from collections.abc import Iterable

from tests.benchmarks.first_try.runs import Record
from tests.benchmarks.first_try.settings import SETTINGS

HEAD = (
    "setting",
    "metric",
    "minutes",
    "plain",
    "best",
    "visionkit",
    "visionkit - plain",
    "visionkit - best",
    "CPU minutes",
)
NOTE = "\nlast: of last.ckpt, which is not chosen on these images."


def markdown_table(records: Iterable[Record]) -> str:
    """Return a row for each setting and time: mean ± deviation over the seeds in percent, and differences of means."""
    cells: dict[tuple[str, float], dict[str, list[Record]]] = {}
    for record in records:
        systems = cells.setdefault((record["setting"], record["minutes"]), {})
        systems.setdefault(record["system"], []).append(record)
    order = list(SETTINGS)
    lines = ["| " + " | ".join(HEAD) + " |", "|---" * len(HEAD) + "|"]
    for setting, minutes in sorted(cells, key=lambda key: (order.index(key[0]), key[1])):
        name, systems = SETTINGS[setting].metrics[0], cells[setting, minutes]
        shown = [cell(systems.get(system, []), name) for system in ("plain", "best", "visionkit")]
        means = {system: mean(values(found, name)) for system, found in systems.items()}
        compared = [difference(means.get("visionkit"), means.get(system)) for system in ("plain", "best")]
        lines.append("| " + " | ".join([setting, name, f"{minutes:g}", *shown, *compared, used(systems)]) + " |")
    return "\n".join([*lines, NOTE])


def values(records: Iterable[Record], name: str, key: str = "metrics") -> list[float]:
    """Return a metric of each run that has it, in percent."""
    found = [record.get(key, {}).get(name) for record in records]
    return [100 * value for value in found if value is not None]


def mean(found: list[float]) -> float | None:
    """Return the mean, None without values."""
    return statistics.mean(found) if found else None


def cell(records: list[Record], name: str) -> str:
    """Return the mean and the deviation of a system, the number of failed runs, and what else is to be said."""
    found, last = values(records, name), values(records, name, "last_metrics")
    parts = [spread(found)] if found else []
    parts += [f"(last {spread(last)})"] if last else []
    failures = sum("failure" in record for record in records)
    parts += [f"{failures} failed"] if failures else []
    return " ".join(parts)


def spread(found: list[float]) -> str:
    """Return mean ± deviation."""
    return f"{statistics.mean(found):.1f}" + (f" ± {statistics.stdev(found):.1f}" if len(found) > 1 else "")


def difference(first: float | None, second: float | None) -> str:
    """Return the difference of two means; nothing if one is missing."""
    return "" if first is None or second is None else f"{first - second:+.1f}"


def used(systems: dict[str, list[Record]]) -> str:
    """Return the mean CPU minutes of the trainings of visionkit, start-up and validations included."""
    seconds = [record["cpu_seconds"] for record in systems.get("visionkit", []) if "cpu_seconds" in record]
    return f"{statistics.mean(seconds) / 60:.1f}" if seconds else ""
