"""The length of a training run for the number of its training images, for `visionkit fit`."""

import dataclasses
import logging
from typing import Any

from lightning.pytorch import Trainer

from visionkit.data.datamodule import VisionData
from visionkit.engine.run_length import RunLength, lengthen, steps_of_epoch
from visionkit.engine.unfreeze import StagedUnfreezing
from visionkit.tasks import Task

logger = logging.getLogger("visionkit")

FEW_STEPS = 100
"""Number of optimizer steps below which a warning is logged: a warmed-up learning rate moves the weights too little."""

OTHER_LENGTHS = ("max_steps", "max_time", "fast_dev_run", "limit_train_batches", "overfit_batches")
"""Arguments of the Trainer that limit a run in another way than by its epochs."""


def adapt_length(recipe: dict[str, Any], trainer: Trainer, task: Task, data: VisionData) -> dict[str, Any]:
    """Train for at least `schedule.min_steps` optimizer steps, and return the recipe with the changed numbers.

    The number of epochs grows, and milestones, the interval between validations and the epochs of `unfreeze` grow in
    proportion. A recipe that is limited in another way, or has no limit of epochs (-1), is unchanged.
    """
    limits = recipe.get("trainer") or {}
    epochs = trainer.max_epochs or 0
    if any(limits.get(name) is not None for name in OTHER_LENGTHS) or epochs < 1:
        return recipe
    given = RunLength(epochs, trainer.check_val_every_n_epoch or 1)
    options, steps = task.schedule_options, _steps_of_epoch(trainer, data)
    length = lengthen(given, steps, options.min_steps)
    if length == given:
        return recipe
    factor = length.epochs / given.epochs
    milestones = [milestone * factor for milestone in options.milestones]
    task.schedule_options = dataclasses.replace(options, milestones=milestones)
    changed = {"max_epochs": length.epochs}
    if trainer.check_val_every_n_epoch is not None:  # else trainer.val_check_interval counts the batches of all epochs
        trainer.check_val_every_n_epoch = changed["check_val_every_n_epoch"] = length.validate_every
    trainer.fit_loop.max_epochs = length.epochs
    logger.info(
        "%d epochs instead of %d, with a validation every %s: %d images give %d steps an epoch, and schedule.min_steps "
        "is %d (trainer.max_epochs=... on the command line fixes the number)",
        length.epochs,
        given.epochs,
        changed.get("check_val_every_n_epoch", f"{trainer.val_check_interval} batches"),
        len(data.dataset("train")),
        steps,
        options.min_steps,
    )
    return {
        **recipe,
        **_lengthened_unfreezing(trainer, factor),
        "trainer": {**limits, **changed},
        "schedule": {**recipe.get("schedule", {}), "milestones": milestones},
    }


def _lengthened_unfreezing(trainer: Trainer, factor: float) -> dict[str, Any]:
    """Multiply the epochs of staged unfreezing, and return its section of the recipe; nothing if there is none."""
    callbacks = trainer.callbacks  # type: ignore[attr-defined]  # Lightning sets it in the constructor
    for callback in callbacks:
        if isinstance(callback, StagedUnfreezing):
            callback.lengthen(factor)
            return {"unfreeze": [dataclasses.asdict(step) for step in callback.steps]}
    return {}


def report_few_steps(trainer: Trainer, data: VisionData, ema_start: int | None) -> None:
    """Log a warning if the planned optimizer steps are too few to train, or end before the moving average starts."""
    if not trainer.max_epochs or trainer.max_epochs < 0:
        return
    steps = trainer.max_epochs * _steps_of_epoch(trainer, data)
    if steps < FEW_STEPS:
        logger.warning(
            "this run has %d optimizer steps (%d images, %d epochs), too few to change a network much: raise "
            "trainer.max_epochs or set schedule.min_steps",
            steps,
            len(data.dataset("train")),
            trainer.max_epochs,
        )
    if ema_start is not None and ema_start >= steps:
        logger.warning("ema.start_step=%d is not reached in %d steps: the weights are not averaged", ema_start, steps)


def _steps_of_epoch(trainer: Trainer, data: VisionData) -> int:
    images = len(data.dataset("train"))
    return steps_of_epoch(images, data.batch_size, trainer.world_size, trainer.accumulate_grad_batches)
