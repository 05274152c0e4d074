"""Computation without waiting for the device: a GPU is waited for whenever the host needs a value of a tensor."""

from collections.abc import Sequence

import torch
from torch import Tensor

HOSTS = frozenset({"cpu"})
"""Types of devices whose values the program can read at any time."""


def waits(values: Tensor | torch.device) -> bool:
    """Return whether reading a value of a tensor, or of any on a device, would wait for the device."""
    device = values.device if isinstance(values, Tensor) else values
    return device.type not in HOSTS


def rows_of(mask: Tensor) -> Tensor | slice:
    """Return the rows on which a computation is needed, as an index.

    Args:
        mask: bool [N].

    Returns:
        int64, the rows where `mask` is True, on a CPU. On a GPU, where counting them would wait, the slice of all rows.
    """
    return slice(None) if waits(mask) else mask.nonzero().squeeze(1)


def from_host(values: Sequence[object], like: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Return numbers as a tensor on the device of `like`, copied without waiting for it."""
    return to_device_of(torch.tensor(values, dtype=dtype), like)


def to_device_of(tensor: Tensor, like: Tensor) -> Tensor:
    """Return a tensor of the host on the device of `like`, copied without waiting for it."""
    return tensor.pin_memory().to(like.device, non_blocking=True) if like.is_cuda else tensor.to(like.device)
