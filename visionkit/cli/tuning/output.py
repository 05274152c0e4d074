"""Folders and tables of the results of `visionkit tune`."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from visionkit.cli.empty_folder import empty_folder
from visionkit.data.io.atomic_write import write_text
from visionkit.engine.run_folder import new_run_folder

ROOT = Path("tune")


def result_folder(name: str, action: str, given: str | None) -> Path:
    """Create and return the folder of results: the given one, or the next free `tune/<recipe>-<card>/<action>/<n>/`.

    Raises:
        ConfigError: the given folder contains files.
        WriteError: the folder cannot be created.
    """
    return new_run_folder(action, ROOT / name) if given is None else empty_folder(Path(given))


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table. None is an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_text(path, text.getvalue())
