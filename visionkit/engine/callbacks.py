"""The callbacks of a training run: checkpoints, learning rate log, and what the recipe asks for."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import (
    Callback,
    EarlyStopping,
    EMAWeightAveraging,
    LearningRateMonitor,
    ModelCheckpoint,
)

from visionkit.engine.after_training import AfterTraining, AfterTrainingOptions
from visionkit.engine.feature_cache import FeatureCache, FeatureCacheOptions
from visionkit.engine.unfreeze import StagedUnfreezing, UnfreezeStep


@dataclass
class EmaOptions:
    """Exponential moving average of the weights; the average is evaluated and saved.

    Attributes:
        decay: share of the old average that each step keeps.
        start_step: optimizer step from which the average is computed.
    """

    decay: float = 0.999
    start_step: int = 0


@dataclass
class EarlyStoppingOptions:
    """Stop training when the main metric no longer rises.

    Attributes:
        patience: number of evaluations without an improvement.
        min_delta: smallest rise that counts as an improvement.
    """

    patience: int = 10
    min_delta: float = 0.0


class SaveLastStep(Callback):
    """Save the network at the end of training if no validation, which saves it otherwise, followed the last step.

    Args:
        path: of the checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.validated_step = path, -1

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Remember the step that was validated."""
        if not trainer.sanity_checking:
            self.validated_step = trainer.global_step

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the network if it was trained since."""
        if self.validated_step != trainer.global_step:
            trainer.save_checkpoint(self.path)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save a network that is not trained (`trainer.max_epochs=0`), for example to test published weights."""
        if trainer.global_step == 0:
            trainer.save_checkpoint(self.path)


def make_callbacks(
    folder: Path,
    monitor: str,
    ema: EmaOptions | None = None,
    early_stopping: EarlyStoppingOptions | None = None,
    unfreeze: list[UnfreezeStep] | None = None,
    feature_cache: FeatureCacheOptions | None = None,
    after_training: AfterTrainingOptions | None = None,
) -> list[Callback]:
    """Return the callbacks of every run (best.ckpt and last.ckpt, learning rate) and those of the options.

    Args:
        folder: the run's folder.
        monitor: name of the logged metric that selects best.ckpt; higher is better.
        ema: moving average of the weights; None for none.
        early_stopping: when to stop early; None for never.
        unfreeze: steps of staged unfreezing.
        feature_cache: where features of a frozen backbone are kept; None computes them in every epoch.
        after_training: options of layers that are fitted after the last epoch.
    """
    callbacks: list[Callback] = [
        ModelCheckpoint(folder, filename="best", monitor=monitor, mode="max", enable_version_counter=False),
        # save_last of the one above would follow the best epochs only, and not be written on Ctrl-C.
        ModelCheckpoint(folder, filename="last", save_on_exception=True, enable_version_counter=False),
        SaveLastStep(folder / "last.ckpt"),
        LearningRateMonitor(logging_interval="step"),
        AfterTraining(folder, after_training),
    ]
    if ema is not None:
        callbacks.append(EMAWeightAveraging(decay=ema.decay, update_starting_at_step=ema.start_step))
    if early_stopping is not None:
        callbacks.append(EarlyStopping(monitor=monitor, mode="max", **dataclasses.asdict(early_stopping)))
    if unfreeze:
        callbacks.append(StagedUnfreezing(unfreeze))
    if feature_cache is not None:  # after unfreezing, which sets what is trained
        callbacks.append(FeatureCache(feature_cache))
    return callbacks
