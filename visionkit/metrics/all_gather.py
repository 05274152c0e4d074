"""Python objects of all processes of a distributed run."""

from collections.abc import Mapping
from typing import TypeVar

import torch

Key = TypeVar("Key")
Value = TypeVar("Value")
Entry = TypeVar("Entry")


def process_rank() -> int:
    """Return the rank of this process in a distributed run, and 0 otherwise."""
    is_distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_rank() if is_distributed else 0


def all_gather_objects(own: Entry) -> list[Entry]:
    """Return the objects of all processes by rank, the same in each of them; every process must call this."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return [own]
    gathered: list[Entry] = [own] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(gathered, own)
    return gathered


def all_gather_dict(own: Mapping[Key, Value]) -> dict[Key, Value]:
    """Return the entries of all processes, the same in each of them; every process must call this.

    Args:
        own: entries of this process. A key that several processes have is kept once.
    """
    return {key: value for entries in all_gather_objects(dict(own)) for key, value in entries.items()}
