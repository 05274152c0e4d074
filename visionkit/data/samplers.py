"""Samplers of image indices for any number of processes."""

import os
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler

from visionkit.errors import ConfigError


class EvaluationSampler(DistributedSampler[int]):
    """Sampler for evaluation, which yields each image exactly once over all processes, in order.

    Lightning's default sampler repeats images until all processes have the same number, which changes the metrics.
    Lightning does not replace this sampler, because it is a `DistributedSampler`.

    Args:
        count: number of images.
        rank, processes: index of this process and number of processes.
    """

    def __init__(self, count: int, rank: int, processes: int) -> None:
        super().__init__(_Counted(count), processes, rank, shuffle=False)
        self.count = count

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.rank, self.count, self.num_replicas))

    def __len__(self) -> int:
        return len(range(self.rank, self.count, self.num_replicas))


class ClassBalancedSampler(DistributedSampler[int]):
    """Sampler that draws all classes equally often, up to a difference of one image.

    An epoch has as many draws as there are images. Within a class, no image is repeated before all others have been
    drawn. All processes draw the same list from the seed and the epoch, and each takes every `processes`-th entry.

    Args:
        labels: int64 [N], class of each image.
        rank, processes: index of this process and number of processes.
        seed: seed of the order; None takes the seed of the run.

    Raises:
        ConfigError: there is no image, or an image does not have a single class.
    """

    def __init__(self, labels: NDArray[np.int64], rank: int, processes: int, seed: int | None = None) -> None:
        if not len(labels) or labels.min() < 0:
            raise ConfigError(
                f"data.sampling: balanced needs one class an image, and {int((labels < 0).sum())} of {len(labels)} "
                "images have none\nset data.sampling: shuffled"
            )
        super().__init__(_Counted(len(labels)), processes, rank, seed=run_seed() if seed is None else seed)
        self.members = [np.flatnonzero(labels == label) for label in np.unique(labels)]

    def __iter__(self) -> Iterator[int]:
        random = np.random.default_rng([self.seed, self.epoch])
        shares = np.full(len(self.members), self.total_size // len(self.members))
        shares[: self.total_size % len(self.members)] += 1
        random.shuffle(shares)  # the classes with one more image change with each epoch
        drawn = np.concatenate([_dealt(*class_share, random) for class_share in zip(self.members, shares, strict=True)])
        random.shuffle(drawn)
        return iter(drawn[self.rank :: self.num_replicas].tolist())


def run_seed() -> int:
    """Return the seed given to Lightning's `seed_everything`, the same in all processes of a run; 0 without a seed."""
    return int(os.environ.get("PL_GLOBAL_SEED", 0))


def _dealt(members: NDArray[np.int64], count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Return `count` of the members: all of them in random order, then all of them in a new order, and so on."""
    rounds = -(-count // len(members))
    return random.permuted(np.tile(members, (rounds, 1)), axis=1).reshape(-1)[:count]


class _Counted(Dataset[int]):
    """Dataset that has only a length, as `DistributedSampler` needs it."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count
