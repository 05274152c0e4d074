"""Functions that the table scripts share: train and test a recipe through the command line, and read the results."""

import json
import resource
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.helpers.metric_cases import flat
from visionkit.cli.main import main
from visionkit.metrics.results import MetricResults


def fit_and_test(recipe: str, words: list[str], checkpoint: str = "last") -> tuple[dict[str, Any], float, float]:
    """Train and test a recipe, and return the results.

    Args:
        recipe: name of a shipped recipe, or path of one.
        words: cards and overrides to lay over it.
        checkpoint: which one is tested, "last" or "best".

    Returns:
        The metrics by name, those of a class as "metric/class", and the minutes that training took: of the clock, and
        of the processor.
    """
    started, spent = time.monotonic(), processor_seconds()
    assert main(["fit", recipe, *words]) == 0
    minutes, processor_minutes = (time.monotonic() - started) / 60, (processor_seconds() - spent) / 60
    run = last_run(recipe)
    assert main(["test", str(run / f"{checkpoint}.ckpt")]) == 0
    written = next(run.glob(f"{checkpoint}-*/metrics.json"))  # of val where the card has no test split
    read = json.loads(written.read_text())
    return flat(MetricResults(read["overall"], read["per_class"])), minutes, processor_minutes


def last_run(recipe: str) -> Path:
    """Return the folder of the newest run of a recipe."""
    return max(Path("runs", Path(recipe).stem).iterdir(), key=lambda path: int(path.name))


def show(head: list[str], rows: list[list[str]]) -> None:
    """Print the rows so far as a Markdown table, and write it to table.md."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]
    Path("table.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines), flush=True)


def fill(head: list[str], names: Iterable[str], chosen: list[str], measure: Callable[[str], list[str]]) -> None:
    """Measure the selected rows, or all, and show the table after each row.

    The folder "rows" keeps what is measured: a command that was stopped goes on when it is repeated, and two may fill
    one table side by side.
    """
    rows = {name: Path("rows", f"{name}.json") for name in names}
    Path("rows").mkdir(exist_ok=True)
    for name in chosen or rows:
        if not rows[name].exists():
            rows[name].write_text(json.dumps(measure(name)))
        show(head, [json.loads(path.read_text()) for path in rows.values() if path.exists()])


def processor_seconds() -> float:
    """Return the CPU seconds of this process and of its finished loader processes."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    usage = [resource.getrusage(kind) for kind in kinds]
    return sum(part.ru_utime + part.ru_stime for part in usage)
