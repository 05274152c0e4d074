"""Loggers of a training run: metrics.csv, and others by name."""

import csv
import functools
import importlib.util
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import CSVLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from visionkit.engine.run_record import add_to_record, read_record
from visionkit.errors import ConfigError

logger = logging.getLogger("visionkit")


PASSWORD = re.compile(r"(?<=://)[^/@\s]*:[^/\s]*(?=@)")
"""User and password in an address."""


@dataclass
class TensorBoardOptions:
    """Events for TensorBoard in the run's folder, which need no options.

    Example:
        >>> import visionkit as vk
        >>> vk.LoggerOptions(tensorboard=vk.TensorBoardOptions()).wandb is None
        True
    """


@dataclass
class WandbOptions:
    """A run of Weights & Biases.

    Attributes:
        project: name of the project.
        name: name of the run; None uses that of the run's folder.
        entity: user or team; None is that of the login.
        group: name of a group of runs.
        tags: tags of the run.
        offline: whether the run is only written to the run's folder; `wandb sync` uploads it.

    Example:
        >>> import visionkit as vk
        >>> vk.WandbOptions(project="cells", offline=True).name is None
        True
    """

    project: str = "visionkit"
    name: str | None = None
    entity: str | None = None
    group: str | None = None
    tags: list[str] = field(default_factory=list)
    offline: bool = False


@dataclass
class MLflowOptions:
    """A run of MLflow.

    Attributes:
        tracking_uri: address of the server, or a database such as "sqlite:///mlflow.db", without a password; None uses
            $MLFLOW_TRACKING_URI, and without it mlflow.db in the run's folder.
        experiment_name: name of the experiment.
        run_name: name of the run; None uses that of the run's folder.
        tags: tags of the run.

    Raises:
        ConfigError: the address has a password, which recipe.yaml and the checkpoints would have, too.

    Example:
        >>> import visionkit as vk
        >>> vk.MLflowOptions(experiment_name="cells").tracking_uri is None
        True
    """

    tracking_uri: str | None = None
    experiment_name: str = "visionkit"
    run_name: str | None = None
    tags: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if PASSWORD.search(self.tracking_uri or ""):
            raise ConfigError(
                "mlflow: tracking_uri has a password, which recipe.yaml and checkpoints would have, too: use the "
                "environment variables MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_URI"
            )


@dataclass
class LoggerOptions:
    """Loggers beside metrics.csv. A logger with options is used.

    Attributes:
        tensorboard: TensorBoard.
        wandb: Weights & Biases (extra `wandb`).
        mlflow: MLflow (extra `mlflow`).

    Example:
        >>> import visionkit as vk
        >>> vk.LoggerOptions(wandb=vk.WandbOptions(offline=True)).mlflow is None
        True
    """

    tensorboard: TensorBoardOptions | None = None
    wandb: WandbOptions | None = None
    mlflow: MLflowOptions | None = None


GUARDED_METHODS = ("log_metrics", "log_hyperparams", "log_graph", "save", "after_save_checkpoint", "finalize")
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


class FinishingWandbLogger(WandbLogger):
    """WandbLogger that finishes its run; otherwise the next training in this process would continue it."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Finish the run, as failed or not."""
        super().finalize(status)
        self.experiment.finish(exit_code=int(status == "failed"))


def make_loggers(folder: Path, steps: int | None = None, options: LoggerOptions | None = None) -> list[Logger]:
    """Return a logger for metrics.csv, and those that are asked for.

    Args:
        folder: the run's folder.
        steps: number of steps of the checkpoint that a run continues from. Rows of later steps are removed, because
            these steps are repeated. None keeps all rows.
        options: other loggers; None uses TensorBoard if it is installed.

    Raises:
        ConfigError: a logger's package is missing, or its server does not answer.
    """
    # Each row is written at once: the rows of the last steps must not be lost with a killed process.
    csv_logger = RunLogger(folder, name="", version="", flush_logs_every_n_steps=1)
    _keep_rows(csv_logger, folder / "metrics.csv", steps)
    if options is None:
        options = LoggerOptions(TensorBoardOptions() if importlib.util.find_spec("tensorboard") else None)
    loggers: list[Logger] = [csv_logger]
    with _finalized_after_an_error(loggers):
        for name, make in MAKERS.items():
            of_logger = getattr(options, name)
            if of_logger is not None:
                _require(name)
                own = make(folder, of_logger)
                leave_out_after_an_error(name, own)
                loggers.append(own)
    return loggers


@contextmanager
def run_loggers(folder: Path, steps: int | None = None, options: LoggerOptions | None = None) -> Iterator[list[Logger]]:
    """Yield the loggers of `make_loggers`, which are finalized also after an error that is none of the training."""
    loggers = make_loggers(folder, steps, options)
    with _finalized_after_an_error(loggers):
        yield loggers


@contextmanager
def _finalized_after_an_error(loggers: Sequence[Logger]) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for own in loggers:
            own.finalize("failed")
        raise


def _require(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ConfigError(f'logger: {package} is not installed\npip install "visionkit[{package}]", or leave it out')


def _tensorboard(folder: Path, options: TensorBoardOptions) -> Logger:
    return TensorBoardLogger(folder, name="", version="")


def _wandb(folder: Path, options: WandbOptions) -> Logger:
    """Return a logger that continues the run of an earlier session."""
    with _starting("wandb", "logger.wandb.offline=true needs no server"):
        made = FinishingWandbLogger(
            save_dir=folder,
            project=options.project,
            name=options.name or _run_name(folder),
            entity=options.entity,
            group=options.group,
            tags=options.tags or None,
            offline=options.offline,
            id=_stored(folder, "wandb_id"),
            resume="allow",
        )
        _store(folder, {"wandb_id": made.experiment.id})
    return made


def _mlflow(folder: Path, options: MLflowOptions) -> Logger:
    """Return a logger that continues the run of an earlier session."""
    own = f"sqlite:///{(folder / 'mlflow.db').resolve()}"
    with _starting("mlflow", "check logger.mlflow.tracking_uri"):
        made = MLFlowLogger(
            experiment_name=options.experiment_name,
            run_name=options.run_name or _run_name(folder),
            tracking_uri=options.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or own,
            tags=options.tags or None,
            run_id=_stored(folder, "mlflow_id"),
        )
        _store(folder, {"mlflow_id": made.run_id})
    return made


@contextmanager
def _starting(name: str, advice: str) -> Iterator[None]:
    """Raise ConfigError for errors of a logger that is started now, so that a wrong address ends no training later."""
    try:
        yield
    except Exception as error:  # of any type, from the packages' clients
        raise ConfigError(f"logger: {name} cannot start: {_reason(error)}\n{advice}") from error


def leave_out_after_an_error(name: str, own: Logger) -> None:
    """Make the first error of a logger a warning, after which its methods do nothing: the training goes on without it.

    The methods of the object are replaced, so that callbacks find a logger of the type that they know.

    Args:
        name: name of the logger in the recipe.
        own: the logger, which has been started.
    """
    guard = _Guard(name)
    for method in GUARDED_METHODS:
        setattr(own, method, functools.partial(guard, getattr(type(own), method), own))


class _Guard:
    """Function that calls the methods of a logger until one of them fails."""

    def __init__(self, name: str) -> None:
        self.name, self.failed = name, False

    def __call__(self, method: Callable[..., None], own: Logger, *arguments: Any, **named: Any) -> None:
        if self.failed:
            return
        try:
            method(own, *arguments, **named)
        except Exception as error:  # of any type, from the packages' clients
            self.failed = True
            logger.warning(
                "logger: %s failed, and gets no more metrics of this run; metrics.csv has them: %s",
                self.name,
                _reason(error),
            )


def _reason(error: Exception) -> str:
    """Return the first line of an error, without the password of an address such as $MLFLOW_TRACKING_URI."""
    lines = PASSWORD.sub("***", str(error).strip()).splitlines()
    return f"{lines[0] if lines else type(error).__name__:.200}"


_store = rank_zero_only(add_to_record)
"""Add facts to run.yaml, in the first process only."""


def _stored(folder: Path, key: str) -> Any:
    return read_record(folder).get(key)


def _run_name(folder: Path) -> str:
    return f"{folder.parent.name}-{folder.name}"


MAKERS: dict[str, Callable[[Path, Any], Logger]] = {"tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow}
"""Function that makes each logger, by its name in `LoggerOptions`."""


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
