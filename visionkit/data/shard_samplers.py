"""Samplers for datasets in shards: each node reads few shards at a time, and each image is drawn once."""

import math
from collections.abc import Iterator, Sequence
from itertools import repeat

import numpy as np
from numpy.typing import NDArray

from visionkit.data.samplers import NO_IMAGE, EvaluationSampler, Place, SeededImage, TrainingSampler


class ShardSampler(TrainingSampler):
    """Sampler that draws every image once per epoch, in an order that reads the shards one after another.

    The shards are shuffled and laid end to end. The row is cut into `streams` parts of equal numbers of images, which
    are read side by side: draw number i is of stream i modulo `streams`. In a stream, the images of every `window`
    shards are shuffled together. The order depends on the seed, the epoch, `window` and `streams`, and not on the
    number of processes. Each node reads the shards of its own streams only, if their number is a multiple of that of
    the nodes.

    Some images are drawn a second time, so that all processes have the same number of draws.

    Args:
        shards: int64 [images], number of each image's shard.
        place: this process.
        window: number of shards whose images are mixed.
        streams: number of streams; None takes the number of nodes.
        seed: seed of the order; None takes the seed of the run.

    Example:
        >>> import numpy as np
        >>> from visionkit.data.samplers import Place
        >>> from visionkit.data.shard_samplers import ShardSampler
        >>> shards = np.repeat(np.arange(3), 4)
        >>> sampler = ShardSampler(shards, Place(), window=1, streams=None, seed=0)
        >>> [int(shards[key.number]) for key in sampler]
        [2, 2, 2, 2, 0, 0, 0, 0, 1, 1, 1, 1]
    """

    def __init__(
        self, shards: NDArray[np.int64], place: Place, window: int, streams: int | None, seed: int | None = None
    ) -> None:
        super().__init__(len(shards), _offset(place), place.processes, seed)
        self.shards, self.window, self.streams = shards, window, streams or place.nodes
        multiple = math.lcm(self.num_replicas, self.streams)
        self.total_size = -(-len(shards) // multiple) * multiple
        self.num_samples = self.total_size // self.num_replicas
        per_shard = len(shards) / max(len(np.unique(shards)), 1)
        self._ahead = math.ceil(window * per_shard * self.streams / self.num_replicas)

    def order(self, random: np.random.Generator) -> NDArray[np.int64]:
        """Return the images of an epoch; see `TrainingSampler.order`."""
        position = random.permutation(int(self.shards.max(initial=0)) + 1)  # of each shard in the row
        row = np.resize(np.argsort(position[self.shards], kind="stable"), self.total_size)
        streams = row.reshape(self.streams, -1)
        places = position[self.shards[streams]]
        return _shuffled(streams, _windows(places, self.window), random).T.reshape(-1)

    def ahead(self, own: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the images one window later; see `TrainingSampler.ahead`."""
        return _later(own, self._ahead)


class ShardEvaluationSampler(EvaluationSampler):
    """Sampler for evaluation whose processes read successive images; otherwise like `EvaluationSampler`.

    Args:
        shards: int64 [images], number of each image's shard.
        rank, processes: index of this process and number of processes.
    """

    def __init__(self, shards: NDArray[np.int64], rank: int, processes: int) -> None:
        super().__init__(len(shards), rank, processes)
        self._ahead = math.ceil(len(shards) / max(len(np.unique(shards)), 1))

    def __iter__(self) -> Iterator[SeededImage]:  # type: ignore[override]  # with the image that is read soon
        own = np.array(self._own(), np.int64)
        return map(SeededImage, own.tolist(), repeat(0), _later(own, self._ahead).tolist())

    def _own(self) -> Sequence[int]:
        first, end = (place * self.count // self.num_replicas for place in (self.rank, self.rank + 1))
        return [NO_IMAGE] if self.count and first == end else range(first, end)


def _later(own: NDArray[np.int64], distance: int) -> NDArray[np.int64]:
    """Return for each image the one that comes `distance` images later; `NO_IMAGE` if there is none."""
    return np.append(own[distance:], np.full(min(distance, len(own)), NO_IMAGE))


def _offset(place: Place) -> int:
    """Return the first draw of a process, of which it takes every `processes`-th.

    Draws that are equal modulo the number of nodes belong to the same node.
    """
    per_node, rest = divmod(place.processes, place.nodes)
    if rest:  # no two nodes would have the same number of draws
        return place.rank
    return (place.rank - place.node * per_node) * place.nodes + place.node


def _windows(places: NDArray[np.int64], window: int) -> NDArray[np.int64]:
    """Return the number of the window of each image in each stream, [streams, images]."""
    changes = np.diff(places, axis=1, prepend=places[:, :1]) != 0
    return np.cumsum(changes, axis=1) // window


def _shuffled(streams: NDArray[np.int64], windows: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    """Return the streams with the images of each window in random order."""
    order = np.lexsort((random.random(streams.shape), windows), axis=1)
    return np.take_along_axis(streams, order, axis=1)
