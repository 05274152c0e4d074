"""Orders in which images are drawn, each fit for any number of processes."""

import os
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler

from visionkit.errors import ConfigError


class EvaluationSampler(DistributedSampler[int]):
    """Every image in one process and once, in order: for evaluation.

    Lightning's own choice repeats images until all processes have equally many, which shifts the metrics. Being a
    DistributedSampler this one is left in place.

    Args:
        count: number of images.
        rank, processes: which process of how many this is.
    """

    def __init__(self, count: int, rank: int, processes: int) -> None:
        super().__init__(_Counted(count), processes, rank, shuffle=False)
        self.count = count

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.rank, self.count, self.num_replicas))

    def __len__(self) -> int:
        return len(range(self.rank, self.count, self.num_replicas))


class ClassBalancedSampler(DistributedSampler[int]):
    """Images of every class equally often (to within one), as many an epoch as there are images.

    Within a class no image comes again before all others have come. All processes draw the same list from seed
    and epoch, and take turns in it.

    Args:
        labels: int64 [N], class of each image.
        rank, processes: which process of how many this is.
        seed: another seed draws another order; None takes that of the run.

    Raises:
        ConfigError: there is no image, or one has no single class.
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
        random.shuffle(shares)  # another class has the odd image in every epoch
        drawn = np.concatenate([_dealt(*class_share, random) for class_share in zip(self.members, shares, strict=True)])
        random.shuffle(drawn)
        return iter(drawn[self.rank :: self.num_replicas].tolist())


def run_seed() -> int:
    """The seed that Lightning's `seed_everything` was given, the same in all processes of a run; 0 without one."""
    return int(os.environ.get("PL_GLOBAL_SEED", 0))


def _dealt(members: NDArray[np.int64], count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """`count` of the members, going through all of them in a new order each time round."""
    rounds = -(-count // len(members))
    return random.permuted(np.tile(members, (rounds, 1)), axis=1).reshape(-1)[:count]


class _Counted(Dataset[int]):
    """What a DistributedSampler wants to know of a data set: its length."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count
