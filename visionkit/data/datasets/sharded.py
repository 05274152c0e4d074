"""Datasets whose images are stored in shards, of which a process should read few at a time."""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import VisionDataset
from visionkit.data.datasets.concatenated import ConcatenatedDataset
from visionkit.data.datasets.delegating import DelegatingDataset
from visionkit.data.datasets.subset import SubsetDataset


class ShardedDataset(ABC):
    """Mixin of datasets whose images are in shards."""

    @abstractmethod
    def shards(self) -> NDArray[np.int64]:
        """Return the number of each image's shard, int64 [images]."""

    @abstractmethod
    def prefetch(self, index: int) -> None:
        """Start to get the shard of an image that will be read soon, if it is not there."""


def shards_of(dataset: VisionDataset) -> NDArray[np.int64] | None:
    """Return the number of each image's shard, int64 [images], also of parts of a dataset; None if there are none.

    Example:
        >>> from visionkit.data.datasets.shapes import Shapes
        >>> from visionkit.data.datasets.sharded import shards_of
        >>> shards_of(Shapes(count=3, size=64)) is None
        True
    """
    if isinstance(dataset, ShardedDataset):
        return dataset.shards()
    if isinstance(dataset, SubsetDataset):
        inner = shards_of(dataset.dataset)
        return None if inner is None else inner[dataset.indices]
    if isinstance(dataset, ConcatenatedDataset):
        return _concatenated([shards_of(part) for part in dataset.parts])
    return None


def _concatenated(parts: list[NDArray[np.int64] | None]) -> NDArray[np.int64] | None:
    """Return the shards of several datasets, each of which has its own; None if one has none."""
    known = [part for part in parts if part is not None]
    if len(known) < len(parts):
        return None
    first = np.cumsum([0, *(part.max(initial=-1) + 1 for part in known)])
    return np.concatenate([part + start for part, start in zip(known, first.tolist(), strict=False)])


def prefetch(dataset: VisionDataset, index: int) -> None:
    """Start to get the shard of an image, also of a part of a dataset; nothing happens for other datasets."""
    while isinstance(dataset, DelegatingDataset):
        dataset, index = dataset.locate(index)
    if isinstance(dataset, ShardedDataset):
        dataset.prefetch(index)
