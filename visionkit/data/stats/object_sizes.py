"""How large the objects of a split are in the pixels of the network's input, without decoding an image."""

from collections.abc import Callable

import torch
from torch import Tensor

from visionkit.data.datasets.base import VisionDataset
from visionkit.preprocessing.geometry import Geometry


def object_sizes(reader: VisionDataset, geometry: Callable[[int, int], Geometry], most: int | None = None) -> Tensor:
    """Width and height [N, 2] of all objects but crowds.

    Args:
        reader: of the split.
        geometry: from an image's height and width to how it is resized.
        most: bound on the images looked at, which are evenly spread; None looks at all.
    """
    sizes = [torch.zeros(0, 2)]
    every = 1 if most is None else max(len(reader) // most, 1)
    for index in range(0, len(reader), every):
        annotation = reader.annotation(index)
        corners = geometry(*reader.image_size(index)).to_input(torch.from_numpy(annotation.boxes))
        sizes.append((corners[:, 2:] - corners[:, :2])[torch.from_numpy(~annotation.crowd)])
    return torch.cat(sizes)
