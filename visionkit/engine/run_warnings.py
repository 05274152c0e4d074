"""Warnings about a run that learns nothing, while there is still time to stop it."""

import logging
import math
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import nn

from visionkit.metrics.results import MetricResults
from visionkit.tasks.base import Task, datamodule_of
from visionkit.tasks.classification import Classification
from visionkit.tasks.multi import MultiTask
from visionkit.text import format_list

logger = logging.getLogger("visionkit")

SMALL_BATCH = 4
"""Images per process below which the statistics of BatchNorm layers are too noisy to train with (Wu & He 2018)."""

SMALL_SPLIT = 200
"""Number of validation images below which the log says how large differences of accuracies by chance are: two standard
errors of a share of one half."""

FIRST_STEPS = 100
"""Optimizer steps before which the training loss and the main metric are not judged: few images have short epochs."""

FLAT_VALIDATIONS, FLAT_RANGE, HIGH = 5, 1e-3, 0.9
"""Number of validations whose metrics are compared with the lowest one, the range that counts as flat, and a metric
that may be flat."""

LOSS_EPOCHS, LEAST_FALL = 3, 0.02
"""Number of epochs after which the mean loss must have fallen, and by which share."""


class RunWarnings(Callback):
    """Callback that warns of small batches and validation splits before the run, and of failing training during it.

    Each warning is logged once.

    Args:
        monitor: name of the logged main metric.
    """

    def __init__(self, monitor: str) -> None:
        self.monitor = monitor
        self._metrics: list[float] = []
        self._lowest = math.inf
        self._first_loss, self._epochs = 0.0, 0
        self._said: set[str] = set()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn of batches that are too small for BatchNorm, and say how exact the validation is."""
        data = datamodule_of(trainer)
        if data is None:
            return
        if data.batch_size < SMALL_BATCH and _trains_batch_norm(pl_module):
            self._warn(
                "batch",
                "BatchNorm layers are trained with %d images at a time: raise data.batch_size to %d, or set "
                "model.backbone.batch_norm=frozen for pretrained weights",
                data.batch_size,
                SMALL_BATCH,
            )
        count = len(data.dataset("val")) if "val" in data.splits else 0
        if 0 < count < SMALL_SPLIT and isinstance(pl_module, Classification):
            logger.info(
                "val has %d images: differences below about %.0f points can be chance", count, 100 / math.sqrt(count)
            )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn if the mean training loss does not fall."""
        loss = trainer.callback_metrics.get("train/loss")
        if loss is None:
            return
        if self._epochs == 0:
            self._first_loss = float(loss)
        self._epochs += 1
        is_judged = self._epochs > LOSS_EPOCHS and trainer.global_step >= FIRST_STEPS
        if is_judged and float(loss) > (1 - LEAST_FALL) * self._first_loss:
            self._warn(
                "loss",
                "the training loss does not fall (%.4g after one epoch, %.4g after %d): set another optimizer.lr, "
                "and look at the data with `visionkit data show`",
                self._first_loss,
                float(loss),
                self._epochs,
            )

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Warn if the main metric stays the lowest that it has been; that of a model that has learned may stay too."""
        value = trainer.callback_metrics.get(self.monitor)
        if value is None or trainer.sanity_checking:
            return
        self._lowest = min(self._lowest, float(value))
        if trainer.global_step < FIRST_STEPS:
            return
        self._metrics = last = [*self._metrics, float(value)][-FLAT_VALIDATIONS:]
        if len(last) == FLAT_VALIDATIONS and max(last) - self._lowest < FLAT_RANGE and max(last) < HIGH:
            self._warn(
                "metric",
                "%s has been %.4f in %d validations: the model does not learn; try another optimizer.lr, or check the "
                "card with `visionkit data show`",
                self.monitor,
                last[-1],
                FLAT_VALIDATIONS,
            )

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Name the classes for which no prediction of the last validation was right."""
        unseen = []
        for prefix, results in _results_of_heads(pl_module).items():
            values: dict[str, float] = next(iter(results.per_class.values()), {})
            unseen += [f"{prefix}{name}" for name, value in values.items() if value == 0]
        if unseen:
            self._warn("classes", "no prediction was right in the last validation for: %s", format_list(unseen))

    def state_dict(self) -> dict[str, Any]:
        """Return the losses and metrics, with which a resumed run is compared."""
        return {
            "metrics": self._metrics,
            "lowest": self._lowest,
            "first_loss": self._first_loss,
            "epochs": self._epochs,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the losses and metrics of the run that is resumed."""
        self._metrics, self._lowest = list(state_dict["metrics"]), state_dict["lowest"]
        self._first_loss, self._epochs = state_dict["first_loss"], state_dict["epochs"]

    def _warn(self, kind: str, message: str, *values: Any) -> None:
        if kind not in self._said:
            self._said.add(kind)
            logger.warning(message, *values)


def _results_of_heads(module: LightningModule) -> dict[str, MetricResults]:
    """Return the results of a task, or of each head of one, by what is put in front of the names of classes."""
    if isinstance(module, MultiTask):
        return {f"{name}/": module.results.part(f"{name}/") for name in module.heads}
    return {"": module.results} if isinstance(module, Task) else {}


def _trains_batch_norm(module: nn.Module) -> bool:
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) and part.training for part in module.modules())
