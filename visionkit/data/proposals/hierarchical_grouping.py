"""Hierarchical grouping: the two most similar neighbors are merged repeatedly (Uijlings et al. 2013, section 3.1)."""

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visionkit.data.proposals.initial_regions import Regions


@dataclass
class Similarity:
    """Selection of the similarities whose sum is used (section 3.2): color, texture, size, fill."""

    color: bool = True
    texture: bool = True
    size: bool = True
    fill: bool = True


COLOR_TEXTURE_SIZE_FILL = Similarity()
TEXTURE_SIZE_FILL = Similarity(color=False)
FILL = Similarity(color=False, texture=False, size=False)
SIZE = Similarity(color=False, texture=False, fill=False)


class _Growing:
    """Regions of the hierarchy: R at first, one more after each step, at most 2R - 1."""

    def __init__(self, regions: Regions, similarity: Similarity) -> None:
        self.similarity, self.count = similarity, len(regions.sizes)
        most = 2 * self.count - 1
        # The sum of two histogram intersections is the intersection of the concatenated histograms.
        chosen = [regions.colors] * similarity.color + [regions.textures] * similarity.texture
        histograms = np.concatenate([np.zeros((self.count, 0), np.float32), *chosen], axis=1)
        self.histograms = _longer(histograms, most)
        self.boxes, self.sizes = _longer(regions.boxes, most), _longer(regions.sizes, most)
        self.pixels = regions.sizes.sum()

    def alike(self, one: NDArray[np.int64] | int, other: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the similarity of pairs of regions; `one` is a single index, or one index for each of `other`."""
        answer = np.zeros(len(other))
        if self.histograms.shape[1]:
            answer += np.minimum(self.histograms[one], self.histograms[other]).sum(axis=1)
        together = self.sizes[one] + self.sizes[other]
        if self.similarity.size:
            answer += 1 - together / self.pixels
        if self.similarity.fill:
            first, second = self.boxes[one], self.boxes[other]
            sides = np.maximum(first[..., 2:], second[:, 2:]) - np.minimum(first[..., :2], second[:, :2])
            answer += 1 - (sides[:, 0] * sides[:, 1] - together) / self.pixels
        return answer

    def join(self, one: int, other: int) -> int:
        """Add the union of two regions and return its index; histograms are averaged by size (section 3.2)."""
        new, sizes = self.count, self.sizes
        self.count += 1
        sizes[new] = sizes[one] + sizes[other]
        share = np.float32(sizes[one] / sizes[new])
        self.histograms[new] = share * self.histograms[one] + (1 - share) * self.histograms[other]
        self.boxes[new, :2] = np.minimum(self.boxes[one, :2], self.boxes[other, :2])
        self.boxes[new, 2:] = np.maximum(self.boxes[one, 2:], self.boxes[other, 2:])
        return new


def group_regions(regions: Regions, similarity: Similarity) -> NDArray[np.int64]:
    """Merge neighboring regions until the whole image is one region.

    The cost of a step is proportional to the number of neighbors of the new region. The similarity of a pair never
    changes, so the pairs are kept in a heap. A pair is skipped if one of its regions has been merged already.

    Args:
        regions: the R initial regions, connected through their neighbors.
        similarity: similarities that determine the order of merging.

    Returns:
        int64 [2R - 1, 4], boxes of the initial regions, then of the new region of each step; the last box is the
        image.
    """
    growing = _Growing(regions, similarity)
    one, other = regions.neighbors.T
    queue = list(zip((-growing.alike(one, other)).tolist(), one.tolist(), other.tolist(), strict=True))
    heapq.heapify(queue)
    neighbors: dict[int, set[int]] = {index: set() for index in range(growing.count)}
    for _, first, second in queue:
        neighbors[first].add(second)
        neighbors[second].add(first)
    while queue:
        _, first, second = heapq.heappop(queue)
        if first not in neighbors or second not in neighbors:
            continue
        around = (neighbors.pop(first) | neighbors.pop(second)) - {first, second}
        new = growing.join(first, second)
        for index in around:
            neighbors[index].difference_update((first, second))
            neighbors[index].add(new)
        neighbors[new] = around
        beside = sorted(around)
        for index, value in zip(beside, growing.alike(new, np.array(beside, np.int64)).tolist(), strict=True):
            heapq.heappush(queue, (-value, index, new))
    return growing.boxes[: growing.count]


def _longer(rows: NDArray[Any], length: int) -> NDArray[Any]:
    """Return `rows`, padded with zeros at the end to `length` rows."""
    return np.concatenate([rows, np.zeros((length - len(rows), *rows.shape[1:]), rows.dtype)])
