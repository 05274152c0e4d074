"""Samplers of image indices for any number of processes."""

import os
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset
from torch.utils.data.distributed import DistributedSampler

from visionkit.errors import ConfigError

NO_IMAGE = -1
"""Index for which a dataset returns None."""


class EvaluationSampler(DistributedSampler[int]):
    """Sampler for evaluation, which yields each image exactly once over all processes, in order.

    Lightning's default sampler repeats images until all processes have the same number, which changes the metrics.
    Lightning does not replace this sampler, because it is a `DistributedSampler`. A process for which no image is left
    gets the index `NO_IMAGE`, because Lightning would leave out the evaluation of a process without batches, and the
    other processes would wait for it.

    Args:
        count: number of images.
        rank, processes: index of this process and number of processes.
    """

    def __init__(self, count: int, rank: int, processes: int) -> None:
        super().__init__(_Counted(count), processes, rank, shuffle=False)
        self.count = count

    def __iter__(self) -> Iterator[int]:
        return iter(self._own())

    def __len__(self) -> int:
        return len(self._own())

    def _own(self) -> Sequence[int]:
        """Return the indices of this process."""
        own = range(self.rank, self.count, self.num_replicas)
        return [NO_IMAGE] if self.count and not own else own


class SeededImage(NamedTuple):
    """Number of an image in its dataset, seed of its augmentation, and number of an image that is read soon."""

    number: int
    seed: int
    ahead: int = NO_IMAGE


class Place(NamedTuple):
    """Place of this process: its rank among all processes, their number, the number of nodes, and its node."""

    rank: int = 0
    processes: int = 1
    nodes: int = 1
    node: int = 0


class TrainingSampler(DistributedSampler[SeededImage]):
    """Base class of samplers for training. The order and all seeds follow from the seed of the run and the epoch.

    A resumed run therefore sees the same images with the same augmentation as a run without interruption. All
    processes compute the same list, and each takes every `processes`-th entry. Subclasses implement `order`.

    Args:
        count: number of images.
        rank, processes: index of this process and number of processes.
        seed: seed of the order; None takes the seed of the run.

    Attributes:
        skipped: number of draws of this process that the next iteration leaves out.
    """

    def __init__(self, count: int, rank: int, processes: int, seed: int | None = None) -> None:
        super().__init__(_Counted(count), processes, rank, seed=run_seed() if seed is None else seed)
        self.skipped = 0

    def order(self, random: np.random.Generator) -> NDArray[np.int64]:
        """Return the images of an epoch of all processes, int64 [`total_size`]."""
        raise NotImplementedError

    def ahead(self, own: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return for each draw of this process an image that is read soon, int64 [draws]; by default none."""
        return np.full(len(own), NO_IMAGE)

    def __iter__(self) -> Iterator[SeededImage]:
        random = np.random.default_rng([self.seed, self.epoch])
        self.epoch += 1  # for loops that do not call `set_epoch`, as Lightning does
        drawn = self.order(random)
        seeds = random.integers(2**32, size=len(drawn))
        part = slice(self.rank + self.skipped * self.num_replicas, None, self.num_replicas)
        own = drawn[part]
        return map(SeededImage, own.tolist(), seeds[part].tolist(), self.ahead(own).tolist())


class ShuffledSampler(TrainingSampler):
    """Sampler that draws every image once per epoch, in random order.

    With several processes, some images are drawn a second time, so that all processes have the same number of draws.
    """

    def order(self, random: np.random.Generator) -> NDArray[np.int64]:
        """Return the images of an epoch; see `TrainingSampler.order`."""
        return np.resize(random.permutation(len(self.dataset)), self.total_size)  # type: ignore[arg-type]  # has a length


class ClassBalancedSampler(TrainingSampler):
    """Sampler that draws all classes equally often, up to a difference of one image.

    An epoch has as many draws as there are images. Within a class, no image is repeated before all others have been
    drawn.

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
        super().__init__(len(labels), rank, processes, seed)
        self.members = [np.flatnonzero(labels == label) for label in np.unique(labels)]

    def order(self, random: np.random.Generator) -> NDArray[np.int64]:
        """Return the images of an epoch; see `TrainingSampler.order`."""
        shares = np.full(len(self.members), self.total_size // len(self.members))
        shares[: self.total_size % len(self.members)] += 1
        random.shuffle(shares)  # the classes with one more image change with each epoch
        drawn = np.concatenate([dealt(*class_share, random) for class_share in zip(self.members, shares, strict=True)])
        random.shuffle(drawn)
        return drawn


def run_seed() -> int:
    """Return the seed given to Lightning's `seed_everything`, the same in all processes of a run; 0 without a seed."""
    return int(os.environ.get("PL_GLOBAL_SEED") or 0)


def dealt(members: NDArray[np.int64], count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Return `count` of the members: all of them in random order, then all of them in a new order, and so on."""
    rounds = -(-count // len(members))
    return random.permuted(np.tile(members, (rounds, 1)), axis=1).reshape(-1)[:count]


class _Counted(Dataset[int]):
    """Dataset that has only a length, as `DistributedSampler` needs it."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count
