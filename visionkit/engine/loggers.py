"""Loggers of a training run."""

import csv
import importlib.util
import logging
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

logger = logging.getLogger("visionkit")


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


def make_loggers(folder: Path, steps: int | None = None) -> list[Logger]:
    """Return a logger for metrics.csv, and one for TensorBoard if tensorboard is installed.

    Args:
        folder: the run's folder.
        steps: number of steps of the checkpoint that a run continues from. Rows of later steps are removed, because
            these steps are repeated. None keeps all rows.
    """
    # Each row is written at once: the rows of the last steps must not be lost with a killed process.
    csv_logger = RunLogger(folder, name="", version="", flush_logs_every_n_steps=1)
    _keep_rows(csv_logger, folder / "metrics.csv", steps)
    loggers: list[Logger] = [csv_logger]
    if importlib.util.find_spec("tensorboard"):
        loggers.append(TensorBoardLogger(folder, name="", version=""))
    return loggers


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
