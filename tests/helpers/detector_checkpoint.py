"""Checkpoints of small detectors."""

import torch

from tests.helpers.every_detector import small
from tests.helpers.small_detector import small_task

CLASSES = ["cat", "dog", "bird"]


def detector_checkpoint(path, name="faster_rcnn"):
    """Write a checkpoint of a detector with random values, as `vk.load` reads it, and return its path."""
    task = small_task(CLASSES, small(name))
    torch.save({"visionkit": task.description(), "state_dict": task.state_dict()}, path)
    return path
