"""Seeds of the random numbers of a training step."""

import random

import numpy as np
import torch


def seed_step(seed: int, rank: int, epoch: int, batch: int) -> None:
    """Seed the generators of torch, NumPy and Python for a training step.

    The random numbers of a step (dropout, sampling of anchors, mixup) then do not depend on the steps before it. A
    resumed run draws the same numbers as a run without interruption.

    Args:
        seed: seed of the run.
        rank: index of the process.
        epoch: index of the epoch.
        batch: index of the batch in the epoch.

    Example:
        >>> import torch
        >>> from visionkit.tasks.step_seed import seed_step
        >>> seed_step(0, rank=0, epoch=1, batch=7)
        >>> first = torch.rand(2)
        >>> seed_step(0, rank=0, epoch=1, batch=7)
        >>> torch.equal(first, torch.rand(2))
        True
    """
    words = np.random.SeedSequence([seed, rank, epoch, batch]).generate_state(3).tolist()
    torch.manual_seed(words[0])
    np.random.seed(words[1])
    random.seed(words[2])
