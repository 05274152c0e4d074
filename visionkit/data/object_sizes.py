"""How large the objects of a split are in the pixels of the network's input, without decoding a picture."""

import torch
from torch import Tensor

from visionkit.data.preprocess import letterbox
from visionkit.data.sample import VisionDataset


def object_sizes(reader: VisionDataset, side: int) -> Tensor:
    """Width and height [N, 2] of all objects but crowds, their pictures letterboxed to `side` x `side` pixels."""
    sizes = [torch.zeros(0, 2)]
    for index in range(len(reader)):
        annotation = reader.annotation(index)
        corners = letterbox(*reader.picture_size(index), side, side).enter(torch.from_numpy(annotation.boxes))
        sizes.append((corners[:, 2:] - corners[:, :2])[torch.from_numpy(~annotation.crowd)])
    return torch.cat(sizes)
