"""Computations in float32 under any precision of the trainer, and a check for values that are not finite."""

import torch
from torch import Tensor

from visionkit.errors import VisionkitError


def full_precision(like: Tensor) -> torch.autocast:
    """Return a context without autocast on the device of `like`, for box coding, IoU, NMS and losses."""
    return torch.autocast(like.device.type, enabled=False)


def check_finite(*outputs: Tensor) -> None:
    """Raise an error if an output of a model is not finite. Otherwise NMS would drop NaN without notice.

    Raises:
        VisionkitError: a value is NaN or infinite.
    """
    if not torch.stack([output.isfinite().all() for output in outputs]).all():
        raise VisionkitError("the model's scores or boxes are not finite: its weights or running statistics are broken")


def at_least_float32(x: Tensor) -> Tensor:
    """Return `x` in float32, or unchanged if it is float64."""
    return x if x.dtype == torch.float64 else x.float()
