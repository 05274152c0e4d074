"""Loggers of a training run: metrics.csv, and others by name."""

import csv
import functools
import importlib.util
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger
from lightning.pytorch.utilities import rank_zero_only

from visionkit.engine.logger_options import PASSWORD, LoggerOptions, TensorBoardOptions
from visionkit.errors import ConfigError

logger = logging.getLogger("visionkit")

FINALIZE = "finalize"
"""Method of loggers that ends the run on a server."""

GUARDED_METHODS = ("log_metrics", "log_hyperparams", "log_graph", "save", "after_save_checkpoint", FINALIZE)
"""Methods of loggers that Lightning and the tasks call during a training."""


class RunLogger(CSVLogger):
    """CSVLogger whose file may disappear, or which cannot be written for a while, without an end of the training."""

    @rank_zero_only
    def save(self) -> None:
        """Write the new rows. If that fails, they are kept for the next attempt."""
        try:
            Path(self.log_dir).mkdir(parents=True, exist_ok=True)
            super().save()
        except OSError as error:
            logger.warning("metrics.csv could not be written: %s", error)


Chosen = Mapping[str, LoggerOptions]
"""Options of the chosen loggers by the name of each logger in the recipe."""


def make_loggers(folder: Path, steps: int | None = None, chosen: Chosen | None = None) -> list[Logger]:
    """Return a logger for metrics.csv, and those that are chosen.

    Args:
        folder: the run's folder.
        steps: number of steps of the checkpoint that a run continues from. Rows of later steps are removed, because
            these steps are repeated. None keeps all rows.
        chosen: other loggers; None uses TensorBoard if it is installed.

    Raises:
        ConfigError: a logger's package is missing, or its server does not answer.
    """
    # Each row is written at once: the rows of the last steps must not be lost with a killed process.
    csv_logger = RunLogger(folder, name="", version="", flush_logs_every_n_steps=1)
    _keep_rows(csv_logger, folder / "metrics.csv", steps)
    if chosen is None:
        chosen = {"tensorboard": TensorBoardOptions()} if importlib.util.find_spec("tensorboard") else {}
    made: list[Logger] = [csv_logger]
    with _finalized_after_an_error(made):
        for name, options in chosen.items():
            made.append(_start(name, options, folder))
    return made


@contextmanager
def run_loggers(folder: Path, steps: int | None = None, chosen: Chosen | None = None) -> Iterator[list[Logger]]:
    """Yield the loggers of `make_loggers`, which are finalized also after an error that is none of the training."""
    made = make_loggers(folder, steps, chosen)
    with _finalized_after_an_error(made):
        yield made


@contextmanager
def _finalized_after_an_error(loggers: Sequence[Logger]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for own in loggers:
            own.finalize("failed")
        raise


def _start(name: str, options: LoggerOptions, folder: Path) -> Logger:
    """Return a logger that has been started, and whose later errors are warnings.

    Raises:
        ConfigError: it cannot start.
    """
    try:
        own = options.make(folder)
    except ConfigError:
        raise
    except Exception as error:  # of any type, from the packages' clients
        raise ConfigError(f"logger: {name} cannot start: {_reason(error)}\n{options.advice}") from error
    leave_out_after_an_error(name, own)
    return own


def leave_out_after_an_error(name: str, own: Logger) -> None:
    """Make the first error of a logger a warning, after which the training goes on without it.

    Its methods then do nothing, except `finalize`, which ends a run on its server and is called once more.

    The methods of the object are replaced, so that callbacks find a logger of the type that they know.

    Args:
        name: name of the logger in the recipe.
        own: the logger, which has been started.
    """
    guard = _Guard(name)
    for method in GUARDED_METHODS:
        setattr(own, method, functools.partial(guard, method, own))


class _Guard:
    """Function that calls the methods of a logger until one of them fails, and `finalize` once after that."""

    def __init__(self, name: str) -> None:
        self.name, self.failed, self.ended = name, False, False

    def __call__(self, method: str, own: Logger, *arguments: Any, **named: Any) -> None:
        if self.ended or (self.failed and method != FINALIZE):
            return
        try:
            getattr(type(own), method)(own, *arguments, **named)
        except Exception as error:  # of any type, from the packages' clients
            if not self.failed:
                self._warn(error)
            self.failed = True
        self.ended = self.failed and method == FINALIZE

    def _warn(self, error: Exception) -> None:
        text = "logger: %s failed, and gets no more metrics of this run; metrics.csv has them: %s"
        logger.warning(text, self.name, _reason(error))


def _reason(error: Exception) -> str:
    """Return the first line of an error, without the password of an address such as $MLFLOW_TRACKING_URI."""
    lines = PASSWORD.sub("***", str(error).strip()).splitlines()
    return f"{lines[0] if lines else type(error).__name__:.200}"


@rank_zero_only
def _keep_rows(csv_logger: CSVLogger, path: Path, steps: int | None) -> None:
    """Keep the complete rows of the first steps of an earlier run, whose file Lightning deletes."""
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            whole_lines = (line for line in file if line.endswith("\n"))
            rows = [row for row in csv.DictReader(whole_lines) if _is_complete(row)]
        rows = [row for row in rows if steps is None or int(row["step"]) < steps]
        csv_logger.experiment.metrics.extend(rows)
        csv_logger.save()


def _is_complete(row: dict[Any, Any]) -> bool:
    """Return whether a row has a step and the columns of the header; a killed process may have written a part of it."""
    return None not in row and None not in row.values() and row.get("step", "").isdecimal()
