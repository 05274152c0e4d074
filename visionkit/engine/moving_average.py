"""Exponential moving average of the weights."""

import logging
from collections.abc import Mapping
from itertools import islice
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging
from torch import Tensor
from torch.utils.data import DataLoader

from visionkit.engine.update_metric import update_metric
from visionkit.tasks.base import Task

Tensors = tuple[Tensor, ...] | list[Tensor]

CLEARLY_WORSE = 0.02
"""Difference of the main metric from which a warning says that the average is behind the weights."""

AVERAGE = "average_model_state"
"""Key of the average in a checkpoint whose `state_dict` are the current weights."""

logger = logging.getLogger("visionkit")


class MovingAverage(WeightAveraging):
    """Lightning's WeightAveraging with an exponential moving average of parameters and buffers after every step.

    The decay grows with the number of updates, so that the average of a short run does not keep the initial weights;
    see `decay_at`. Unlike with Lightning's EMAWeightAveraging, the average of a constant is exactly that constant. A
    resumed run would otherwise differ in buffers that are not part of checkpoints, such as the mean of the
    preprocessing.

    Until `start_step` the average is that of the current weights alone. Validations score the average. In a short run
    it can be far behind the weights, so these are scored too after the last step, and saved if they are better.

    Args:
        decay: largest weight of the previous average in an update.
        start_step: first optimizer step whose weights are averaged with later ones.
    """

    def __init__(self, decay: float, start_step: int = 0) -> None:
        def average(averaged: Tensors, current: Tensors, updates: Tensor | int) -> None:
            if averaged[0].is_floating_point():
                same = [value.to(averaged[0].dtype) for value in current]  # float32, also if the network is in bfloat16
                torch._foreach_lerp_(averaged, same, 1 - decay_at(int(updates), decay))
            else:
                torch._foreach_copy_(averaged, current)

        super().__init__(use_buffers=True, multi_avg_fn=average)
        self.start_step = start_step
        self._validated_step = -1
        self._saves_current = False
        self._is_swapped = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Create the average on the device on which the network will be; it is moved there only later."""
        self._device = trainer.strategy.root_device
        super().setup(trainer, pl_module, stage)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the average into the network."""
        self._follow(pl_module)
        super().on_validation_epoch_start(trainer, pl_module)
        self._is_swapped = True

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the current weights into the network again."""
        super().on_validation_epoch_end(trainer, pl_module)
        self._is_swapped = False

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Put the current weights into the network again if a validation was interrupted, before it is saved."""
        if self._is_swapped:
            self.on_validation_epoch_end(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Store the step at which the average was scored."""
        if not trainer.sanity_checking:
            self._validated_step = trainer.global_step

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the average, or the current weights if these have a better main metric on the validation split."""
        if self._validated_step == trainer.global_step and isinstance(pl_module, Task):
            self._compare(trainer, pl_module)
        if not self._saves_current:
            self._follow(pl_module)
            super().on_train_end(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Save the average as the weights, or the current weights if these are better; a resumed run has both."""
        self._follow(pl_module)
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if self._saves_current:
            checkpoint[AVERAGE], checkpoint["state_dict"] = checkpoint["state_dict"], checkpoint["current_model_state"]

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Continue from the average and the current weights of a checkpoint."""
        if AVERAGE in checkpoint:
            checkpoint["state_dict"] = checkpoint.pop(AVERAGE)
        super().on_load_checkpoint(trainer, pl_module, checkpoint)

    def _follow(self, module: LightningModule) -> None:
        """Replace an average that has not begun by the current weights."""
        average = self._average_model
        if average is not None and not int(average.n_averaged):
            average.module.load_state_dict(module.state_dict())

    def _compare(self, trainer: Trainer, task: Task) -> None:
        """Score the current weights, and write them to the checkpoints if they are better. Every process does this."""
        average, loader = trainer.callback_metrics.get(task.monitor), trainer.val_dataloaders
        if average is None or not isinstance(loader, DataLoader):
            return
        task.eval()
        update_metric(task, islice(loader, int(trainer.num_val_batches[0])), trainer)
        task.train()
        results = task.metric.compute()
        scores = {f"val/{name}": value for name, value in results.defined().items()}
        lead = scores[task.monitor] - float(average)
        logger.info("%s: moving average %.4f, current weights %.4f", task.monitor, average, scores[task.monitor])
        if lead > 0:
            self._saves_current, task.results = True, results
            task.choose_thresholds()
            self._write(trainer, scores, task.monitor)
        if lead > CLEARLY_WORSE:
            logger.warning(
                "the moving average is behind the weights: %s %.4f against %.4f; the weights are saved instead. Lower "
                "ema.decay or train longer",
                task.monitor,
                average,
                scores[task.monitor],
            )
        task.metric.reset()

    def _write(self, trainer: Trainer, scores: Mapping[str, float], monitor: str) -> None:
        """Write the current weights to last.ckpt, and to best.ckpt if no earlier average was better."""
        trainer.callback_metrics.update({name: torch.tensor(value) for name, value in scores.items()})
        saved = [callback for callback in trainer.checkpoint_callbacks if isinstance(callback, ModelCheckpoint)]
        score, paths = torch.tensor(scores[monitor]), []
        for callback in saved:
            best = callback.best_model_score
            if callback.best_model_path and (callback.monitor is None or best is None or score > best.cpu()):
                paths.append(callback.best_model_path)
                if callback.monitor is not None:  # a resumed run compares with this score
                    callback.best_model_score = callback.current_score = callback.kth_value = score
                    callback.best_k_models = {callback.best_model_path: score}
        for path in paths:
            trainer.save_checkpoint(path)

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Return whether the average is updated, given the index of an optimizer step."""
        return step_idx is not None and step_idx >= self.start_step


def decay_at(updates: int, decay: float) -> float:
    """Return the weight of the previous average after `updates` updates: min(decay, (1 + updates) / (10 + updates)).

    This is the rule of TensorFlow's ExponentialMovingAverage with `num_updates`. With a decay of 0.999, it ends after
    8,990 updates.

    Example:
        >>> from visionkit.engine.moving_average import decay_at
        >>> decay_at(0, 0.999), decay_at(8, 0.999), decay_at(100_000, 0.999)
        (0.1, 0.5, 0.999)
    """
    return min(decay, (1 + updates) / (10 + updates))
