"""The first lines of a training run: what is trained on which data, for how long, and on what."""

import logging
import math
from typing import Any

from lightning.pytorch import Trainer

from visionkit.data.datamodule import VisionData
from visionkit.engine.run_length import steps_of_epoch
from visionkit.tasks import Task
from visionkit.text import format_list

logger = logging.getLogger("visionkit")


def report_run(
    recipe: dict[str, Any], trainer: Trainer, task: Task, data: VisionData, minutes: float | None = None
) -> None:
    """Log the images of each split that is used, the length of the run with its schedule, and the device.

    Args:
        recipe: the composed recipe.
        trainer: trainer of the run.
        task: task that is trained.
        data: data of the run.
        minutes: given time of the run; None if it has a number of epochs or steps.
    """
    splits = [name for name in ("train", "val") if name in [*data.splits]]
    counts = {name: len(data.dataset(name)) for name in splits}
    images = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    logger.info("data: %s; images: %s; %d classes", data_source(recipe["data"]), images, len(data.class_names))
    logger.info("schedule: %s; %s", _length(trainer, data, counts["train"], minutes), _schedule(task))
    logger.info("device: %s, precision %s", _device(trainer), trainer.precision)


def data_source(data: dict[str, Any]) -> str:
    """Return the format and the root of a recipe's data, or the names of the cards."""
    if "cards" in data:
        return f"cards {', '.join(data['cards'])}"
    return " in ".join(str(data[key]) for key in ("format", "root") if data.get(key))


def _length(trainer: Trainer, data: VisionData, images: int, minutes: float | None) -> str:
    batch = data.batch_size * trainer.world_size * trainer.accumulate_grad_batches
    steps = steps_of_epoch(images, data.batch_size, trainer.world_size, trainer.accumulate_grad_batches)
    per_epoch = f"{steps} steps an epoch, {batch} images a step"
    if minutes is not None:
        return f"{minutes:g} minutes ({per_epoch})"
    if trainer.max_steps > 0:
        return f"{trainer.max_steps} steps ({math.ceil(trainer.max_steps / steps)} epochs; {per_epoch})"
    if trainer.max_epochs is None or trainer.max_epochs < 0:
        return f"no number of epochs ({per_epoch})"
    return f"{trainer.max_epochs} epochs = {trainer.max_epochs * steps:,} steps ({per_epoch})"


def _schedule(task: Task) -> str:
    options, optimizer = task.schedule_options, task.optimizer_options
    milestones = format_list([f"{milestone:g}" for milestone in options.milestones])
    shape = f"{options.name} at epochs {milestones}" if options.name == "multistep" else options.name
    return f"{optimizer.name}, learning rate {optimizer.lr:g}, {shape}"


def _device(trainer: Trainer) -> str:
    device = str(trainer.strategy.root_device)
    return device if trainer.world_size == 1 else f"{trainer.world_size} processes, {device.partition(':')[0]}"
