"""What is known about a training run: `run.yaml` in its folder, with an entry for each time it was trained."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from visionkit.data.io.atomic_write import write_text
from visionkit.errors import StoppedError

RUN_FILE = "run.yaml"
"""Name of the file in a run's folder."""

FINISHED, INTERRUPTED, FAILED, RUNNING = "finished", "interrupted", "failed", "running"
"""Statuses of a run. A killed process cannot write its end, so a session without one is running or interrupted."""


def read_record(folder: Path) -> dict[str, Any]:
    """Return the content of run.yaml; empty if there is none or it is not a mapping.

    Raises:
        yaml.YAMLError: it is not YAML.
    """
    path = folder / RUN_FILE
    values = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return values if isinstance(values, dict) else {}


def add_to_record(folder: Path, facts: Mapping[str, Any]) -> None:
    """Add facts to run.yaml. Nothing happens if it cannot be written, as on a full disk: the training goes on."""
    try:
        values = {**_read_or_nothing(folder), **facts}
        write_text(folder / RUN_FILE, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
    except OSError:
        pass


@contextmanager
def recorded_session(folder: Path, facts: Mapping[str, Any]) -> Iterator[None]:
    """Record the start and the end of a training in run.yaml.

    Args:
        folder: folder of the run.
        facts: what is known about the run, for example its recipe.
    """
    started, clock = _now(), time.monotonic()
    sessions = [*_sessions(folder), {"started": started}]
    add_to_record(folder, {**facts, "sessions": sessions})
    status, error = FINISHED, None
    try:
        yield
    except (StoppedError, KeyboardInterrupt):
        status = INTERRUPTED
        raise
    except SystemExit as end:  # Lightning ends with status 1 after Ctrl-C
        status = INTERRUPTED if isinstance(end.__context__, KeyboardInterrupt) else FAILED
        raise
    except BaseException as failure:
        status, error = FAILED, f"{type(failure).__name__}: {failure}".splitlines()[0]
        raise
    finally:
        seconds = round(time.monotonic() - clock, 1)
        ended = {"started": started, "ended": _now(), "seconds": seconds, "status": status}
        sessions[-1] = ended if error is None else {**ended, "error": error}
        add_to_record(folder, {"sessions": sessions})


def _sessions(folder: Path) -> list[Any]:
    found = _read_or_nothing(folder).get("sessions")
    return found if isinstance(found, list) else []


def _read_or_nothing(folder: Path) -> dict[str, Any]:
    try:
        return read_record(folder)
    except (OSError, ValueError, yaml.YAMLError):
        return {}


def _now() -> str:
    return datetime.now(timezone.utc).astimezone().isoformat(timespec="seconds")
