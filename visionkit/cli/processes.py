"""The processes of a distributed run."""

import torch
from lightning_utilities.core.rank_zero import rank_zero_only


def is_first_process() -> bool:
    """Return whether this process writes the files of a distributed run; always true for a single process."""
    return getattr(rank_zero_only, "rank", 0) == 0


def destroy_process_group() -> None:
    """Stop the threads of a distributed run. Gloo threads that still run at exit can abort the process."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
