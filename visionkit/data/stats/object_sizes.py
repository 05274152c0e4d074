"""Sizes of the objects of a split in pixels of the network's input, computed without decoding images."""

from collections.abc import Callable

import torch
from torch import Tensor

from visionkit.data.datasets.base import VisionDataset
from visionkit.preprocessing.geometry import Geometry


def object_sizes(dataset: VisionDataset, geometry: Callable[[int, int], Geometry], most: int | None = None) -> Tensor:
    """Return the width and height [N, 2] of all objects except crowds.

    Args:
        dataset: dataset of the split.
        geometry: function from the height and width of an image to its resizing.
        most: approximate maximum number of images, taken at equal intervals; None uses all.
    """
    sizes = [torch.zeros(0, 2)]
    every = 1 if most is None else max(len(dataset) // most, 1)
    for index in range(0, len(dataset), every):
        annotation = dataset.annotation(index)
        corners = geometry(*dataset.image_size(index)).to_input(torch.from_numpy(annotation.boxes))
        sizes.append((corners[:, 2:] - corners[:, :2])[torch.from_numpy(~annotation.crowd)])
    return torch.cat(sizes)
