"""The runs in a folder, for `visionkit runs`. This module does not import torch."""

import csv
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from visionkit.data.io.file_lock import is_locked
from visionkit.engine.run_folder import FINISHED as FINISHED_FILE
from visionkit.engine.run_folder import RECIPE_FILE
from visionkit.engine.run_lock import NAME as LOCK_FILE
from visionkit.engine.run_record import FINISHED, INTERRUPTED, RUNNING, read_record
from visionkit.errors import ConfigError


@dataclass
class RunEntry:
    """A row of the list. A value that is not known is None.

    Attributes:
        run: folder of the run.
        recipe: name of the recipe.
        cards: names of the data cards.
        started: time of the first start, in ISO 8601.
        seconds: time of training, of all sessions together.
        epochs: number of epochs with a row in metrics.csv.
        status: finished, running, interrupted or failed.
        metric: name of the main metric on the validation split.
        best: its best value.
    """

    run: str
    recipe: str | None
    cards: list[str] | None
    started: str | None
    seconds: float | None
    epochs: int | None
    status: str
    metric: str | None
    best: float | None


SORTS = {
    "started": lambda entry: entry.started or "",
    "best": lambda entry: -math.inf if entry.best is None else entry.best,
    "duration": lambda entry: entry.seconds or 0.0,
}
"""Keys that rows are sorted by, the largest first."""


def list_runs(root: str, recipe: str | None, card: str | None, status: str | None, sort: str, as_json: bool) -> int:
    """Print the runs of a folder as a table or as JSON.

    Args:
        root: folder with runs at `<name>/<number>`.
        recipe: part of the recipe's name; None lists all.
        card: part of a card's name, likewise.
        status: status of the listed runs, likewise.
        sort: key of `SORTS`.
        as_json: whether JSON is printed.

    Raises:
        ConfigError: the folder does not exist.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {root}: run this where you train, or give the folder of the runs")
    entries = [
        entry
        for entry in map(read_run, find_runs(folder))
        if (recipe is None or recipe in (entry.recipe or entry.run))
        and (card is None or any(card in name for name in entry.cards or []))
        and status in (None, entry.status)
    ]
    entries.sort(key=SORTS[sort], reverse=True)
    if as_json:
        print(json.dumps([asdict(entry) for entry in entries], indent=1))
    elif entries:
        _print_table(entries)
    else:
        print(f"no runs in {folder}" if not (recipe or card or status) else f"no such runs in {folder}")
    return 0


def find_runs(root: Path) -> Iterator[Path]:
    """Yield the folders of runs in a folder, which are at `<name>/<number>`."""
    for folder in sorted(root.glob("*/*")):
        if folder.name.isdecimal() and folder.is_dir():
            yield folder


def read_run(folder: Path) -> RunEntry:
    """Return what the files of a run say. Files that cannot be read are reported; values of another type are None."""
    record = _readable(folder, read_record, folder) or {}
    rows = _readable(folder / "metrics.csv", _read_rows, folder / "metrics.csv") or []
    sessions = [session for session in _list(record.get("sessions")) or [] if isinstance(session, dict)]
    cards, metric = _list(record.get("cards")), _text(record.get("metric"))
    values = [value for row in rows if (value := _number(row.get(metric or ""))) is not None]
    epochs = [int(row["epoch"]) for row in rows if (row.get("epoch") or "").isdecimal()]
    status = _status(folder, sessions)
    name = folder.parent.name if (folder / RECIPE_FILE).exists() else None
    return RunEntry(
        run=str(folder),
        recipe=_text(record.get("recipe")) or name,
        cards=None if cards is None else [str(card) for card in cards],
        started=_started(folder, sessions),
        seconds=_seconds(folder, sessions, status),
        epochs=max(epochs) + 1 if epochs else None,
        status=status,
        metric=metric,
        best=max(values, default=None),
    )


def _readable(path: Path, read: Any, argument: Path) -> Any:
    try:
        return read(argument)
    except (OSError, ValueError, yaml.YAMLError, csv.Error) as error:
        print(f"visionkit: {path} cannot be read: {str(error).splitlines()[0]}", file=sys.stderr)
        return None


def _read_rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _status(folder: Path, sessions: list[dict[str, Any]]) -> str:
    if is_locked(folder / LOCK_FILE):
        return RUNNING
    if sessions:
        return str(sessions[-1].get("status") or INTERRUPTED)
    return FINISHED if (folder / FINISHED_FILE).is_file() else INTERRUPTED


def _started(folder: Path, sessions: list[dict[str, Any]]) -> str | None:
    """Return when the run was started; for runs without a record, when its recipe was written."""
    if sessions:
        return _text(sessions[0].get("started"))
    path = folder / RECIPE_FILE
    if not path.is_file():
        return None
    return datetime.fromtimestamp(path.stat().st_mtime).astimezone().isoformat(timespec="seconds")


def _seconds(folder: Path, sessions: list[dict[str, Any]], status: str) -> float | None:
    """Return the time of training; of a session without an end, the time until the last row of metrics.csv."""
    if not sessions:
        return None
    seconds = sum(_number(session.get("seconds")) or 0.0 for session in sessions)
    log, started = folder / "metrics.csv", _time(sessions[-1].get("started"))
    if "seconds" not in sessions[-1] and log.is_file() and started is not None:
        end = datetime.now().timestamp() if status == RUNNING else log.stat().st_mtime
        seconds += max(end - started.timestamp(), 0.0)
    return round(seconds, 1)


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _time(value: Any) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        return None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _list(value: Any) -> list[Any] | None:
    return value if isinstance(value, list) else None


def _print_table(entries: list[RunEntry]) -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Column, Table

    whole = (Column(name, no_wrap=True) for name in ("time", "epochs", "status", "best"))
    columns = [Column("run", overflow="fold"), Column("cards"), Column("started"), *whole]
    table = Table(*columns, box=SIMPLE, pad_edge=False)
    for entry in entries:
        best = "-" if entry.best is None else f"{(entry.metric or '').removeprefix('val/')} {entry.best:.4f}"
        row = [
            entry.run,
            "-" if entry.cards is None else ", ".join(entry.cards) or "built in",
            "-" if entry.started is None else entry.started[:16].replace("T", " "),
            "-" if entry.seconds is None else duration(entry.seconds),
            "-" if entry.epochs is None else str(entry.epochs),
            entry.status,
            best,
        ]
        table.add_row(*map(escape, row))
    Console().print(table)


def duration(seconds: float) -> str:
    """Return a time in the two largest units.

    Example:
        >>> from visionkit.cli.run_list import duration
        >>> duration(42), duration(75), duration(7260)
        ('42 s', '1 min 15 s', '2 h 1 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
