"""Number of epochs and validations of a run, adapted to the number of its training images."""

import math
from typing import NamedTuple

from visionkit.option_checks import check_at_least


class RunLength(NamedTuple):
    """Number of epochs, and of the epochs from one validation to the next."""

    epochs: int
    validate_every: int


def lengthen(length: RunLength, steps_per_epoch: int, min_steps: int) -> RunLength:
    """Return a run of at least `min_steps` optimizer steps, with at most as many validations.

    Args:
        length: epochs of the recipe.
        steps_per_epoch: number of optimizer steps of an epoch.
        min_steps: smallest number of optimizer steps.

    Returns:
        The given length if it is long enough.

    Raises:
        ConfigError: an epoch has no steps.

    Example:
        >>> from visionkit.engine.run_length import RunLength, lengthen
        >>> lengthen(RunLength(epochs=30, validate_every=1), steps_per_epoch=5, min_steps=600)
        RunLength(epochs=120, validate_every=4)
    """
    check_at_least(1, steps_per_epoch=steps_per_epoch)
    epochs = math.ceil(min_steps / steps_per_epoch)
    if epochs <= length.epochs:
        return length
    every = math.ceil(length.validate_every * epochs / length.epochs)
    return RunLength(math.ceil(epochs / every) * every, every)


def steps_of_epoch(images: int, batch_size: int, processes: int, accumulated: int) -> int:
    """Return the number of optimizer steps of an epoch; incomplete batches are left out.

    Args:
        images: number of training images.
        batch_size: images per process and batch.
        processes: number of processes.
        accumulated: number of batches per step.

    Example:
        >>> from visionkit.engine.run_length import steps_of_epoch
        >>> steps_of_epoch(45, batch_size=8, processes=1, accumulated=2)
        3
    """
    batches = max(math.ceil(images / processes) // batch_size, 1)
    return math.ceil(batches / accumulated)
