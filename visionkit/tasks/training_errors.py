"""Errors in training that tell what to change: a loss that is not finite, and BatchNorm layers with a single value."""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from visionkit.errors import VisionkitError


class DivergedError(VisionkitError):
    """The loss is not finite."""


def check_finite(loss: Tensor, parts: Mapping[str, Tensor], step: int, image_ids: list[Any]) -> None:
    """Check that a loss is finite.

    Args:
        loss: [], sum of the parts.
        parts: [] each, by name.
        step: number of the training step.
        image_ids: ids of the images of the batch.

    Raises:
        DivergedError: the loss is not finite; the message names the images.
    """
    if math.isfinite(loss.item()):
        return
    values = ", ".join(f"{name} {value.item():.4g}" for name, value in parts.items())
    raise DivergedError(
        f"the loss is no longer finite at step {step}: {values}\n"
        f"images of the batch: {image_ids}\n"
        "lower optimizer.lr, lengthen schedule.warmup_steps or set trainer.gradient_clip_val"
    )


@contextmanager
def explain_batch_norm_error() -> Iterator[None]:
    """Replace PyTorch's error for a BatchNorm layer that gets one value per channel in training by an explanation.

    Raises:
        VisionkitError: the batch has one image, and its feature map has one cell.
    """
    try:
        yield
    except ValueError as error:
        if not str(error).startswith("Expected more than 1 value per channel"):
            raise
        raise VisionkitError(
            "a BatchNorm layer cannot train on one value per channel (one image, one cell of the feature map)\n"
            "set data.batch_size to 2 or more, or model.backbone.batch_norm=frozen for pretrained weights"
        ) from error
