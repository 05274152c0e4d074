"""Options of the loggers beside metrics.csv, which a recipe names in its section `logger`."""

import importlib.util
import os
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from lightning.pytorch.loggers import Logger, MLFlowLogger, TensorBoardLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from visionkit.engine.run_record import add_to_record, read_record
from visionkit.errors import ConfigError
from visionkit.registry import Registry

PASSWORD = re.compile(
    r"(?<=://)[^/@\s]*:[^/\s]*(?=@)"
    r"|(?:(?<=https://)|(?<=http://))[^/?#\s]+(?=@)"
    r"|(?<=[?&])[\w.-]*(?:passw(?:or)?d|pwd|token|secret|api_?key)[\w.-]*=[^&#\s]+",
    re.IGNORECASE,
)
"""Secrets in an address: user and password, a token as the user of a web address, or an option such as `?password=`."""


class LoggerOptions(ABC):
    """Options of a logger, which make it. A subclass is a dataclass, registered under the name of its key.

    Attributes:
        advice: what to do if the logger cannot start.

    Example:
        >>> from dataclasses import dataclass
        >>> import visionkit as vk
        >>> from lightning.pytorch.loggers import CSVLogger
        >>> @dataclass
        ... class TableOptions(vk.LoggerOptions):  # below @vk.register_logger("table")
        ...     prefix: str = ""
        ...
        ...     def make(self, folder):
        ...         return CSVLogger(folder, name="table", prefix=self.prefix)
        >>> TableOptions(prefix="my").prefix
        'my'
    """

    advice: ClassVar[str] = "check its options, or leave it out"

    @abstractmethod
    def make(self, folder: Path) -> Logger:
        """Return the logger, which is started: a server that does not answer must not end a training later.

        Args:
            folder: the run's folder. Its run.yaml may name the run that an earlier session has begun at the server.
        """


loggers: Registry[type[LoggerOptions]] = Registry("logger")
"""Options of the section `logger` by the name of their key."""

register_logger = loggers.register


@loggers.register("tensorboard")
@dataclass
class TensorBoardOptions(LoggerOptions):
    """Events for TensorBoard in the run's folder, which need no options.

    Example:
        >>> import visionkit as vk
        >>> vk.TensorBoardOptions()
        TensorBoardOptions()
    """

    def make(self, folder: Path) -> Logger:
        """Return a logger that writes to the run's folder."""
        _require("tensorboard")
        return TensorBoardLogger(folder, name="", version="")


@loggers.register("wandb")
@dataclass
class WandbOptions(LoggerOptions):
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
    advice: ClassVar[str] = "logger.wandb.offline=true needs no server"

    def make(self, folder: Path) -> Logger:
        """Return a logger that continues the run of an earlier session."""
        _require("wandb")
        made = FinishingWandbLogger(
            save_dir=folder,
            project=self.project,
            name=self.name or _run_name(folder),
            entity=self.entity,
            group=self.group,
            tags=self.tags or None,
            offline=self.offline,
            id=read_record(folder).get("wandb_id"),
            resume="allow",
        )
        _store(folder, {"wandb_id": made.experiment.id})
        return made


@loggers.register("mlflow")
@dataclass
class MLflowOptions(LoggerOptions):
    """A run of MLflow.

    Attributes:
        tracking_uri: address of the server, or a database such as "sqlite:///mlflow.db", without a password; None uses
            $MLFLOW_TRACKING_URI, and without it mlflow.db in the run's folder.
        experiment_name: name of the experiment.
        run_name: name of the run; None uses that of the run's folder.
        tags: tags of the run.

    Raises:
        ConfigError: the address has a password or a token, which recipe.yaml and the checkpoints would have, too.

    Example:
        >>> import visionkit as vk
        >>> vk.MLflowOptions(experiment_name="cells").tracking_uri is None
        True
    """

    tracking_uri: str | None = None
    experiment_name: str = "visionkit"
    run_name: str | None = None
    tags: dict[str, str] = field(default_factory=dict)
    advice: ClassVar[str] = "check logger.mlflow.tracking_uri"

    def __post_init__(self) -> None:
        if PASSWORD.search(self.tracking_uri or ""):
            raise ConfigError(
                "mlflow: tracking_uri has a password or token, which recipe.yaml and checkpoints would have, too: "
                "set the variables MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, or MLFLOW_TRACKING_URI"
            )

    def make(self, folder: Path) -> Logger:
        """Return a logger that continues the run of an earlier session."""
        _require("mlflow")
        own = f"sqlite:///{(folder / 'mlflow.db').resolve()}"
        made = MLFlowLogger(
            experiment_name=self.experiment_name,
            run_name=self.run_name or _run_name(folder),
            tracking_uri=self.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI") or own,
            tags=self.tags or None,
            run_id=read_record(folder).get("mlflow_id"),
        )
        _store(folder, {"mlflow_id": made.run_id})
        return made


class FinishingWandbLogger(WandbLogger):
    """WandbLogger that finishes its run; otherwise the next training in this process would continue it."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Finish the run, as failed or not."""
        try:
            super().finalize(status)
        finally:  # also if the checkpoints cannot be sent
            self.experiment.finish(exit_code=int(status == "failed"))


def _require(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ConfigError(f'logger: {package} is not installed\npip install "visionkit[{package}]", or leave it out')


def _run_name(folder: Path) -> str:
    return f"{folder.parent.name}-{folder.name}"


_store = rank_zero_only(add_to_record)
"""Add facts to run.yaml, in the first process only."""
