"""Scoring of batches outside of Lightning's loops."""

from collections.abc import Iterable

import torch
from lightning.pytorch import Trainer

from visionkit.data.batch import Batch
from visionkit.tasks.base import Task


@torch.no_grad()
def update_metric(task: Task, batches: Iterable[Batch], trainer: Trainer) -> None:
    """Add the predictions on validation batches to the metric of a task, as a validation does, without logging.

    Args:
        task: task in evaluation mode. Its metric is neither computed nor reset.
        batches: validation batches.
        trainer: trainer with the precision of the run.
    """
    for index, batch in enumerate(batches):
        batch = task.transfer_batch_to_device(batch, task.device, 0)
        with trainer.precision_plugin.forward_context():
            task.validation_step(batch, index)
    task.val_losses.reset()
