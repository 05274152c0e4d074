"""Files of the results of a scored split."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from visionkit.data.io.atomic_write import write_text

CURVES = "curves"
"""Name of the results that are written to a file of their own, since they have a hundred values per class."""


def write_results(folder: Path, metrics: Mapping[str, Any], files: Mapping[str, Any]) -> None:
    """Write metrics.json, curves.json if there are curves, and further JSON files, and print their names.

    Args:
        folder: folder of the files, which is created.
        metrics: the results as plain values; those with the name "curves", also after that of a head, are curves.
        files: content of each further file by name.
    """
    curves = {name: value for name, value in metrics.items() if name.rpartition("/")[2] == CURVES}
    found = {name: value for name, value in metrics.items() if name not in curves}
    write_text(folder / "metrics.json", json.dumps(found, indent=1))
    others = {**files, **({"curves.json": curves} if curves else {})}
    for name, rows in others.items():
        write_text(folder / name, json.dumps(rows))
    Console().print(f"written: {', '.join([f'{folder}/metrics.json', *others])}", soft_wrap=True, markup=False)
