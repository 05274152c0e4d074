"""Lightning's batch size finder, which also measures the time of a step."""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BatchSizeFinder

from visionkit.engine.optimizer_steps import ScaledSteps
from visionkit.errors import VisionkitError
from visionkit.tasks.base import Task, datamodule_of


class TaskBatchSizeFinder(BatchSizeFinder):
    """Callback that doubles the batch size until the memory is full, restores the weights, and ends the run.

    The learning rate is 0, so that no loss diverges. The time between two steps includes the loading of the images.

    Args:
        first: first batch size.
        largest: largest batch size that is tried.
        steps: optimizer steps per batch size.

    Attributes:
        seconds: median time between two steps by batch size; only sizes whose steps all fit the memory.

    Example:
        >>> from visionkit.engine.batch_size_finder import TaskBatchSizeFinder
        >>> TaskBatchSizeFinder(2, 16, steps=5).seconds
        {}
    """

    def __init__(self, first: int, largest: int, steps: int) -> None:
        super().__init__("power", steps, first, max_val=largest + 1)  # Lightning does not try max_val itself
        self.first, self.steps = first, steps
        self.seconds: dict[int, float] = {}
        self._ends: dict[int, list[float]] = {}

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Search, before the first step of the run, which then has no steps.

        Raises:
            VisionkitError: the memory is too small for one image.
        """
        data = datamodule_of(trainer)
        assert isinstance(pl_module, Task) and data is not None
        pl_module.start_training(data)  # Lightning does it only after the callbacks
        data.batch_size = self.first
        optimizer = trainer.optimizers[0]
        ScaledSteps(optimizer, [0.0] * len(optimizer.param_groups), lambda _: None)
        try:
            with _after_each_batch(pl_module, lambda: self._store(data.batch_size)):
                self.scale_batch_size(trainer, pl_module)
        except ValueError as error:
            if data.batch_size:
                raise
            raise VisionkitError(
                "the memory is too small for one image: make images smaller (preprocess), or choose a smaller backbone"
            ) from error
        trainer.fit_loop.max_epochs = 0

    def _store(self, batch_size: int) -> None:
        ends = self._ends.setdefault(batch_size, [])
        ends.append(time.perf_counter())
        if len(ends) == self.steps:
            self.seconds[batch_size] = statistics.median(after - before for before, after in pairwise(ends))


@contextmanager
def _after_each_batch(task: Task, report: Callable[[], None]) -> Iterator[None]:
    """Call a function after each training batch of a task, also of one whose step a gradient scaler skips.

    Lightning removes all callbacks while it searches, so the method of the task itself is replaced.
    """
    method = task.on_train_batch_end

    def reported(outputs: Any, batch: Any, batch_idx: int) -> None:
        method(outputs, batch, batch_idx)
        report()

    task.on_train_batch_end = reported  # type: ignore[method-assign]
    try:
        yield
    finally:
        del task.on_train_batch_end


FASTER = 1.1
"""Ratio of images per second from which another batch size is worth a change."""


def choose_batch_size(speeds: Mapping[int, float], given: int, effective: int) -> int:
    """Return the batch size with which the effective batch is made of whole batches.

    It is the given one if this fits the memory and no other is faster by `FASTER`; otherwise the fastest one.

    Args:
        speeds: images per second by batch size.
        given: batch size of the recipe.
        effective: images per optimizer step.

    Example:
        >>> from visionkit.engine.batch_size_finder import choose_batch_size
        >>> choose_batch_size({2: 10.0, 4: 18.0}, given=16, effective=16)
        4
    """
    whole = {size: speed for size, speed in speeds.items() if effective % size == 0}
    if not whole:
        return max(size for size in range(1, max(speeds) + 1) if effective % size == 0)
    fastest = max(whole, key=lambda size: whole[size])
    return given if whole.get(given, -math.inf) * FASTER >= whole[fastest] else fastest
