"""A trial of a sweep: a run of `visionkit fit` in a process of its own."""

import csv
import math
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

STOPPED = {128 + number for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
"""Exit statuses of a run that a signal has stopped."""

PATIENCE = 60.0
"""Seconds that a run has to stop by itself."""


class TrialResult(NamedTuple):
    """Result of a trial.

    Attributes:
        metric: best main metric of all validations; None if the trial has failed.
        minutes: time of the process.
        error: why it has failed; empty if it has not.
    """

    metric: float | None
    minutes: float
    error: str


class TrialStoppedError(Exception):
    """The run was stopped by a signal, which stops the sweep."""


def run_trial(words: Sequence[str], folder: Path, monitor: str) -> TrialResult:
    """Train in a process of its own, with its messages in `<folder>.log`, and return the result.

    Args:
        words: words after `visionkit fit`.
        folder: run folder.
        monitor: name of the main metric.

    Raises:
        TrialStoppedError: the run was stopped by a signal.
    """
    start = time.monotonic()
    command = [sys.executable, "-m", "visionkit.cli.main", "fit", *words, "--folder", str(folder)]
    log = folder.with_suffix(".log")
    with log.open("wb") as file, subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT) as process:
        try:
            status = process.wait()
        except BaseException:
            _stop(process)
            raise
    minutes = (time.monotonic() - start) / 60
    if status in STOPPED:
        raise TrialStoppedError
    if status:
        return TrialResult(None, minutes, _error(log, status))
    values = metric_values(folder / "metrics.csv", monitor)
    if not values:
        return TrialResult(None, minutes, f"{monitor} was never computed")
    metric = max(filter(math.isfinite, values), default=None)
    return TrialResult(metric, minutes, "" if metric is not None else f"{monitor} is {values[-1]} in all validations")


def metric_values(path: Path, monitor: str) -> list[float]:
    """Return the values of a metric in the metrics.csv of a run; none without a file."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        return [float(row[monitor]) for row in csv.DictReader(file) if row.get(monitor)]


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop a run as a scheduler does, and kill it if it does not end."""
    if process.poll() is None:
        process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()


def _error(log: Path, status: int) -> str:
    """Return the first line of the error that ended a run."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line.removeprefix("visionkit: ") for line in lines if line.startswith("visionkit: ")]
    if errors:
        return errors[-1]
    return f"killed by signal {-status}, as when the memory is full" if status < 0 else f"exit status {status}"
