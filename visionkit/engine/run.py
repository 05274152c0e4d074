"""The folder of one run, the loggers that write into it, and the callbacks of a training run."""

import csv
import dataclasses
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    EMAWeightAveraging,
    LearningRateMonitor,
    ModelCheckpoint,
)
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only

from visionkit.engine.after_training import AfterTraining, AfterTrainingOptions
from visionkit.engine.feature_cache import FeatureCache, FeatureCacheOptions
from visionkit.engine.unfreeze import StagedUnfreezing, UnfreezeStep
from visionkit.errors import VisionkitError


@dataclass
class EmaOptions:
    """Exponential moving average of the weights; the average is evaluated and saved.

    Attributes:
        decay: share of the old average that each step keeps.
        start_step: optimizer step from which the average is kept.
    """

    decay: float = 0.999
    start_step: int = 0


@dataclass
class EarlyStoppingOptions:
    """End the run when the main metric no longer rises.

    Attributes:
        patience: evaluations without a better one.
        min_delta: rise that counts as better.
    """

    patience: int = 10
    min_delta: float = 0.0


class SaveUnvalidated(Callback):
    """Writes the network as it is at the end where no validation followed the last step, which saves it otherwise.

    Args:
        path: of the checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.validated_at = path, -1

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the step that was validated."""
        if not trainer.sanity_checking:
            self.validated_at = trainer.global_step

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what has learned since."""
        if self.validated_at != trainer.global_step:
            trainer.save_checkpoint(self.path)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what was not to learn (`trainer.max_epochs=0`), as published values that `test` shall score."""
        if trainer.global_step == 0:
            trainer.save_checkpoint(self.path)


def new_run_folder(recipe_name: str, root: str | Path = "runs") -> Path:
    """Make and return the next free `runs/<recipe>/<n>/`.

    Raises:
        VisionkitError: the folder cannot be written.
    """
    parent = Path(root) / recipe_name
    try:
        parent.mkdir(parents=True, exist_ok=True)
        numbers = [int(folder.name) for folder in parent.iterdir() if folder.name.isdigit()]
        folder = parent / str(max(numbers, default=0) + 1)
        folder.mkdir()
    except OSError as error:
        raise VisionkitError(f"the run folder {parent} cannot be written: {error.strerror}") from error
    return folder


def latest_checkpoint(recipe_name: str, root: str | Path = "runs") -> Path:
    """The `last.ckpt` of the newest run of a recipe.

    Raises:
        VisionkitError: no run of that recipe has one.
    """
    found = [path for path in (Path(root) / recipe_name).glob("*/last.ckpt") if path.parent.name.isdigit()]
    if not found:
        raise VisionkitError(f"nothing to resume: no {Path(root) / recipe_name}/<n>/last.ckpt")
    return max(found, key=lambda path: int(path.parent.name))


def write_recipe(recipe: dict[str, Any], folder: Path) -> None:
    """Write the recipe as run to `recipe.yaml` in the run's folder."""
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True))


def make_loggers(folder: Path) -> list[Logger]:
    """metrics.csv, and TensorBoard events where tensorboard is installed."""
    table = CSVLogger(folder, name="", version="")
    _go_on(table, folder / "metrics.csv")
    loggers: list[Logger] = [table]
    if importlib.util.find_spec("tensorboard"):
        loggers.append(TensorBoardLogger(folder, name="", version=""))
    return loggers


@rank_zero_only
def _go_on(table: CSVLogger, path: Path) -> None:
    """Keep the rows of the run that is resumed; Lightning deletes its file. Steps that are repeated have two rows."""
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        table.experiment.metrics.extend(rows)
        table.save()


def make_callbacks(
    folder: Path,
    monitor: str,
    ema: EmaOptions | None = None,
    early_stopping: EarlyStoppingOptions | None = None,
    unfreeze: list[UnfreezeStep] | None = None,
    feature_cache: FeatureCacheOptions | None = None,
    after_training: AfterTrainingOptions | None = None,
) -> list[Callback]:
    """What every training run has: best.ckpt and last.ckpt (also after Ctrl-C), and what the recipe asks for."""
    callbacks: list[Callback] = [
        ModelCheckpoint(folder, filename="best", monitor=monitor, mode="max", enable_version_counter=False),
        # save_last of the one above would follow the best epochs only, and not be written on Ctrl-C.
        ModelCheckpoint(folder, filename="last", save_on_exception=True, enable_version_counter=False),
        SaveUnvalidated(folder / "last.ckpt"),
        LearningRateMonitor(logging_interval="step"),
        AfterTraining(folder, Path(after_training.folder) if after_training and after_training.folder else None),
    ]
    if ema is not None:
        callbacks.append(EMAWeightAveraging(decay=ema.decay, update_starting_at_step=ema.start_step))
    if early_stopping is not None:
        callbacks.append(EarlyStopping(monitor=monitor, mode="max", **dataclasses.asdict(early_stopping)))
    if unfreeze:
        callbacks.append(StagedUnfreezing(unfreeze))
    if feature_cache is not None:  # behind unfreezing, which says first what will learn
        callbacks.append(FeatureCache(Path(feature_cache.folder)))
    return callbacks
