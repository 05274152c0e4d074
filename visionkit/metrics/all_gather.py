"""Dicts of all processes of a distributed run, joined."""

from collections.abc import Mapping
from typing import TypeVar

import torch

Key = TypeVar("Key")
Value = TypeVar("Value")


def all_gather_dict(own: Mapping[Key, Value]) -> dict[Key, Value]:
    """Return the entries of all processes, the same in each of them; every process must call this.

    Args:
        own: entries of this process. A key that several processes have is kept once.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return dict(own)
    gathered: list[dict[Key, Value]] = [{} for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(gathered, dict(own))
    return {key: value for entries in gathered for key, value in entries.items()}
