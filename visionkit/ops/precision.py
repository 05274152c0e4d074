"""Where numbers must be exact, and where they must be numbers at all."""

import torch
from torch import Tensor

from visionkit.errors import VisionkitError


def full_precision(like: Tensor) -> torch.autocast:
    """A context for box coding, IoU, NMS and losses: float32 whatever the trainer's precision, on `like`'s device."""
    return torch.autocast(like.device.type, enabled=False)


def check_finite(*outputs: Tensor) -> None:
    """Refuse what a network says if any of it is no number: NaN compares with nothing and would vanish unseen.

    Raises:
        VisionkitError: a value is NaN or infinite.
    """
    if not torch.stack([values.isfinite().all() for values in outputs]).all():
        raise VisionkitError(
            "the network's scores or boxes are not finite: its weights or running statistics are broken"
        )
