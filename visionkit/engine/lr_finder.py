"""Lightning's learning rate finder, in units of `optimizer.lr`."""

from contextlib import suppress

import numpy as np
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateFinder

from visionkit.engine.lr_curve import LRCurve
from visionkit.engine.optimizer_steps import ScaledSteps
from visionkit.tasks.base import Task, datamodule_of
from visionkit.tasks.training_errors import DivergedError


class TaskLRFinder(LearningRateFinder):
    """Callback that raises `optimizer.lr` from step to step, stores the losses, restores the weights, and ends the run.

    Lightning's finder gives all parameter groups the same learning rate. Here each group keeps its factor: that of the
    effective batch size, of the backbone and of its stages. So a learning rate of the curve is the value of
    `optimizer.lr` in a recipe. The loss of a step is the mean over its accumulated batches, without Lightning's
    smoothing. A loss that is not finite ends the test.

    Args:
        lowest: first value of `optimizer.lr`.
        highest: last value.
        steps: number of optimizer steps.

    Example:
        >>> from visionkit.engine.lr_finder import TaskLRFinder
        >>> TaskLRFinder(1e-6, 1.0, steps=50).curve.planned
        50
    """

    def __init__(self, lowest: float, highest: float, steps: int) -> None:
        super().__init__(lowest, highest, steps, update_attr=False)
        self.steps = steps
        self._lrs: list[float] = []
        self._losses: list[float] = []

    @property
    def curve(self) -> LRCurve:
        """Learning rates and losses of the steps."""
        return LRCurve(np.array(self._lrs), np.array(self._losses), self.steps)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Run the test, before the first step of the run, which then has no steps."""
        assert isinstance(pl_module, Task)
        pl_module.start_training(datamodule_of(trainer))  # Lightning does it only after the callbacks
        optimizer = trainer.optimizers[0]
        factors = [group["lr"] / pl_module.optimizer_options.lr for group in optimizer.param_groups]
        ScaledSteps(optimizer, factors, lambda lr: self._store(pl_module, lr))
        with suppress(DivergedError):  # Lightning has restored the weights
            self.lr_find(trainer, pl_module)
        trainer.fit_loop.max_epochs = 0

    def _store(self, task: Task, lr: float) -> None:
        self._lrs.append(lr)
        self._losses.append(task.train_losses.compute()["loss"])
        task.train_losses.reset()
