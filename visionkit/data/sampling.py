"""Orders in which pictures are drawn, each fit for any number of processes."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler


class ExactlyOnce(DistributedSampler[int]):
    """Every picture in one process and once, in order: for evaluation.

    Lightning's own choice repeats pictures until all processes have equally many, which shifts the figures. Being a
    DistributedSampler this one is left in place.

    Args:
        count: number of pictures.
        rank, processes: which process of how many this is.
    """

    def __init__(self, count: int, rank: int, processes: int) -> None:
        super().__init__(_Counted(count), processes, rank, shuffle=False)
        self.count = count

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.rank, self.count, self.num_replicas))

    def __len__(self) -> int:
        return len(range(self.rank, self.count, self.num_replicas))


class ClassBalanced(DistributedSampler[int]):
    """Pictures drawn with replacement so that every class comes equally often.

    All processes draw the same list from seed and epoch, and take turns in it.

    Args:
        labels: int64 [N], class of each picture.
        rank, processes: which process of how many this is.
        seed: another seed draws another order.
    """

    def __init__(self, labels: NDArray[np.int64], rank: int, processes: int, seed: int = 0) -> None:
        super().__init__(_Counted(len(labels)), processes, rank, seed=seed)
        _, membership, counts = np.unique(labels, return_inverse=True, return_counts=True)
        self.chances = 1 / (len(counts) * counts[membership])

    def __iter__(self) -> Iterator[int]:
        random = np.random.default_rng([self.seed, self.epoch])
        drawn = random.choice(len(self.chances), size=len(self) * self.num_replicas, p=self.chances)
        return iter(drawn[self.rank :: self.num_replicas].tolist())


class _Counted(Dataset[int]):
    """What a DistributedSampler wants to know of a data set: its length."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count
