"""What the processes of a distributed run know, put together."""

from collections.abc import Mapping
from typing import TypeVar

import torch

Key = TypeVar("Key")
Value = TypeVar("Value")


def gather_by_key(own: Mapping[Key, Value]) -> dict[Key, Value]:
    """The entries of all processes; each of them must call this, and all get the same. A key counts once."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return dict(own)
    parts: list[dict[Key, Value]] = [{} for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(parts, dict(own))
    return {key: value for part in parts for key, value in part.items()}
