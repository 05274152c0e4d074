"""Weights of the classes in a loss, counted on the training split when training starts."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from visionkit.errors import RecipeError
from visionkit.ops.class_weights import class_weights


def weights_for_training(
    kind: str | Sequence[float], classes: int, datamodule: Any, count: Callable[[Any], tuple[Tensor, Tensor | None]]
) -> Tensor | None:
    """Weight of each class in the loss.

    Args:
        kind: of weights, see `class_weights`, or K numbers.
        classes: K.
        datamodule: the trainer's VisionData, or None.
        count: from the datamodule to how often each class occurs, and out of how much.

    Raises:
        RecipeError: the classes must be counted, and there is no datamodule to count them in.
    """
    if kind == "none" or not isinstance(kind, str):
        return class_weights(torch.zeros(classes), kind)
    if datamodule is None:
        raise RecipeError(
            f"loss.class_weights: give {classes} numbers, or the data as a VisionData whose classes can be counted"
        )
    counts, out_of = count(datamodule)
    return class_weights(counts, kind, out_of)
