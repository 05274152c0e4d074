"""First try: `visionkit fit CARD --minutes N` without a recipe, on small real datasets.

    python -m tests.benchmarks.first_try OUT [--settings bccd,camvid] [--systems visionkit,plain,best]
        [--minutes 5,15] [--seeds 0,1,2] [--core K]
    python -m tests.benchmarks.first_try OUT --table

It is compared with `plain`, scripts with the same weights in tests/benchmarks/plain, and with `best`, hand-made recipes
(`settings.py`). $VISIONKIT_DATA holds the datasets, $VISIONKIT_WEIGHTS the weights; `plain` needs the extra `bench`.

Every run is a process of its own on core K, with one thread, and ends after N minutes of CPU time, imports included
(`cpu_minutes.py`): the time of a free core, also if other work shares it. Scoring comes after the time. OUT/data gets
the data cards and derived files, OUT/<setting>/<system>-<minutes>-<seed> the output, and OUT/results.jsonl a line for
each run. Finished runs are skipped, and failed ones repeated. Two processes with different cores can fill one folder.
"""

import argparse
import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tests.benchmarks.first_try.runs import Run, measure_all, read_records
from tests.benchmarks.first_try.settings import SETTINGS, SYSTEMS
from tests.benchmarks.first_try.table import markdown_table


def main(words: Sequence[str] | None = None) -> None:
    """Measure, or print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.first_try")
    parser.add_argument("out", type=Path, help="folder of the results")
    parser.add_argument("--settings", type=listed(str, SETTINGS), default=list(SETTINGS))
    parser.add_argument("--systems", type=listed(str, SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--minutes", type=listed(float), default=[5.0, 15.0])
    parser.add_argument("--seeds", type=listed(int), default=[0, 1, 2])
    parser.add_argument("--core", type=int, default=max(os.sched_getaffinity(0)), help="where the runs are pinned to")
    parser.add_argument("--table", action="store_true", help="print the Markdown table of the results, and stop")
    given = parser.parse_args(words)
    if given.table:
        print(markdown_table(read_records(given.out)))
        return
    for name in ("VISIONKIT_DATA", "VISIONKIT_WEIGHTS"):
        if name not in os.environ:
            parser.error(f"set ${name} to the folder of the {'datasets' if name.endswith('DATA') else 'weights'}")
    product = itertools.product(given.minutes, given.seeds, given.settings, given.systems)
    runs = [Run(setting, system, minutes, seed) for minutes, seed, setting, system in product]
    measure_all(runs, given.out.resolve(), Path(os.environ["VISIONKIT_DATA"]).resolve(), given.core)


def listed(kind: Callable[[str], Any], names: Sequence[str] | dict[str, Any] = ()) -> Callable[[str], list[Any]]:
    """Return the parser of a list with commas, whose entries are among the names if there are any."""

    def parse(text: str) -> list[Any]:
        found = [kind(part) for part in text.split(",")]
        for unknown in [part for part in found if names and part not in names]:
            raise argparse.ArgumentTypeError(f"{unknown!r} is not one of {', '.join(names)}")
        return found

    return parse


if __name__ == "__main__":
    main()
