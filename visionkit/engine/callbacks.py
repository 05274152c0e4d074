"""Callbacks of a training run: checkpoints, learning rate log, and the callbacks that the recipe selects."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    LearningRateMonitor,
    ModelCheckpoint,
)

from visionkit.engine.after_training import AfterTraining, AfterTrainingOptions
from visionkit.engine.data_wait import DataWait
from visionkit.engine.feature_cache import FeatureCache, FeatureCacheOptions
from visionkit.engine.graceful_stop import GracefulStop
from visionkit.engine.moving_average import MovingAverage
from visionkit.engine.run_warnings import RunWarnings
from visionkit.engine.time_budget import TimeBudget
from visionkit.engine.unfreeze import StagedUnfreezing, UnfreezeStep
from visionkit.errors import StoppedError
from visionkit.option_checks import check_at_least, check_below

KEPT_FEATURES = FeatureCacheOptions()
"""Options with which the features of a frozen backbone are kept in memory."""


@dataclass
class EMAOptions:
    """Exponential moving average of the weights. The average is evaluated and saved.

    Attributes:
        decay: weight of the previous average in each update. After n updates it is at most (1 + n) / (10 + n), so that
            the average of a short run does not keep the initial weights.
        start_step: first optimizer step at which the average is computed.

    Raises:
        ConfigError: a number is out of its range.

    Example:
        >>> import visionkit as vk
        >>> callbacks = vk.make_callbacks("run", "val/AP", ema=vk.EMAOptions(decay=0.99))
        >>> "MovingAverage" in [type(callback).__name__ for callback in callbacks]
        True
    """

    decay: float = 0.999
    start_step: int = 0

    def __post_init__(self) -> None:
        check_below(0, 1, decay=self.decay)
        check_at_least(0, start_step=self.start_step)


@dataclass
class EarlyStoppingOptions:
    """Early stopping when the main metric no longer increases.

    Attributes:
        patience: number of evaluations without an improvement.
        min_delta: smallest increase that counts as an improvement.

    Raises:
        ConfigError: a number is below 0.

    Example:
        >>> import visionkit as vk
        >>> callbacks = vk.make_callbacks("run", "val/AP", early_stopping=vk.EarlyStoppingOptions(patience=3))
        >>> "EarlyStopping" in [type(callback).__name__ for callback in callbacks]
        True
    """

    patience: int = 10
    min_delta: float = 0.0

    def __post_init__(self) -> None:
        check_at_least(0, patience=self.patience, min_delta=self.min_delta)


@dataclass
class CheckpointOptions:
    """Checkpoints besides those that follow every validation.

    Attributes:
        every_n_steps: number of optimizer steps after which last.ckpt is also written; None writes it only after a
            validation, and when the run stops. A killed run loses at most this many steps.

    Raises:
        ConfigError: a value is out of range.

    Example:
        >>> import visionkit as vk
        >>> callbacks = vk.make_callbacks("run", "val/AP", checkpoint=vk.CheckpointOptions(every_n_steps=500))
        >>> "StepCheckpoint" in [type(callback).__name__ for callback in callbacks]
        True
    """

    every_n_steps: int | None = None

    def __post_init__(self) -> None:
        if self.every_n_steps is not None:
            check_at_least(1, every_n_steps=self.every_n_steps)


class LastCheckpoint(ModelCheckpoint):
    """ModelCheckpoint of last.ckpt, which is also written when the run stops between two steps."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, filename="last", save_on_exception=True, enable_version_counter=False)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save, unless the exception interrupts a step: a resumed run could not continue exactly."""
        if not isinstance(exception, (StoppedError, KeyboardInterrupt)):
            super().on_exception(trainer, pl_module, exception)


class StepCheckpoint(ModelCheckpoint):
    """ModelCheckpoint that writes last.ckpt after every n-th step.

    Args:
        folder: the run's folder.
        steps: number of optimizer steps.
    """

    def __init__(self, folder: Path, steps: int) -> None:
        super().__init__(folder, filename="last", every_n_train_steps=steps, enable_version_counter=False)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Save, unless the epoch ends: Lightning would leave out its validation after a resume from this checkpoint."""
        if not trainer.is_last_batch:
            super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)


class SaveLastStep(Callback):
    """Callback that saves the network at the end of training if no validation followed the last step.

    After a validation the other callbacks save it.

    Args:
        path: path of the checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.validated_step = path, -1

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Store the step that was validated."""
        if not trainer.sanity_checking:
            self.validated_step = trainer.global_step

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the network if it was trained after the last validation."""
        if self.validated_step != trainer.global_step:
            trainer.save_checkpoint(self.path)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save a network that is not trained (`trainer.max_epochs=0`), for example to test published weights."""
        if trainer.global_step == 0:
            trainer.save_checkpoint(self.path)


def make_callbacks(
    folder: str | Path,
    monitor: str,
    ema: EMAOptions | None = None,
    early_stopping: EarlyStoppingOptions | None = None,
    unfreeze: list[UnfreezeStep] | None = None,
    feature_cache: FeatureCacheOptions | None = KEPT_FEATURES,
    after_training: AfterTrainingOptions | None = None,
    checkpoint: CheckpointOptions | None = None,
    budget: TimeBudget | None = None,
) -> list[Callback]:
    """Return the callbacks of every run (best.ckpt, last.ckpt and learning rate) and those of the options.

    Args:
        folder: the run's folder.
        monitor: name of the logged metric that selects best.ckpt; higher is better.
        ema: options of the moving average of the weights; None computes no average.
        early_stopping: options of early stopping; None never stops early.
        unfreeze: steps of staged unfreezing.
        feature_cache: options of the features of a frozen backbone; None computes them in every epoch.
        after_training: options of layers that are fitted after the last epoch.
        checkpoint: options of further checkpoints; None writes them after validations only.
        budget: time of the run; None trains for the trainer's number of epochs.

    Example:
        >>> import visionkit as vk
        >>> callbacks = vk.make_callbacks("run", monitor="val/mIoU")  # for lightning.pytorch.Trainer(callbacks=...)
        >>> callbacks[0].filename
        'best'
    """
    folder = Path(folder)
    callbacks = [*_callbacks_of_every_run(folder, monitor), AfterTraining(folder, after_training)]
    if checkpoint is not None and checkpoint.every_n_steps is not None:
        callbacks.append(StepCheckpoint(folder, checkpoint.every_n_steps))
    if budget is not None:
        callbacks.append(budget)
    if ema is not None:
        callbacks.append(MovingAverage(ema.decay, ema.start_step))
        if budget is not None:
            budget.last_validations = 2  # of the average and of the weights
    if early_stopping is not None:
        callbacks.append(EarlyStopping(monitor=monitor, mode="max", **dataclasses.asdict(early_stopping)))
    if unfreeze:
        callbacks.append(StagedUnfreezing(unfreeze))
    if feature_cache is not None:  # after unfreezing, which selects the trainable parameters
        callbacks.append(FeatureCache(feature_cache, budget))
    return callbacks


def _callbacks_of_every_run(folder: Path, monitor: str) -> list[Callback]:
    """Return the callbacks without options."""
    return [
        ModelCheckpoint(folder, filename="best", monitor=monitor, mode="max", enable_version_counter=False),
        GracefulStop(),
        # save_last of the first callback would only follow the best epochs, and would not be written on Ctrl-C.
        LastCheckpoint(folder),
        SaveLastStep(folder / "last.ckpt"),
        LearningRateMonitor(logging_interval="step"),
        RunWarnings(monitor),
        DataWait(),
    ]
