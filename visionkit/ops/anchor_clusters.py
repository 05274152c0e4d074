"""Anchors from the data: shapes of objects, gathered by k-means (Redmon & Farhadi 2016, section 2)."""

from typing import NamedTuple

import torch
from torch import Tensor

from visionkit.ops.anchor_iou import shape_iou


class Clusters(NamedTuple):
    """Shapes that stand for many.

    Attributes:
        shapes: float64 [count, 2], width and height, the smallest area first.
        mean_iou: of the objects with the shape that fits each best, in 0..1 (the paper's table 1).
    """

    shapes: Tensor
    mean_iou: float


def cluster_shapes(sizes: Tensor, count: int, seed: int = 0, most_rounds: int = 300) -> Clusters:
    """Find `count` shapes by k-means with the distance 1 - IoU, which does not favor large boxes as pixels do.

    Args:
        sizes: [N, 2], width and height of the objects, above 0, in any unit.
        count: of shapes, at most N.
        seed: of the start, which is k-means++ (Arthur & Vassilvitskii 2007).
        most_rounds: bound on the rounds, should no round leave all objects where they were.

    Raises:
        ValueError: fewer objects than shapes, or a size that is not above 0.
    """
    sizes = sizes.double()
    if not 1 <= count <= len(sizes) or not (sizes > 0).all():
        raise ValueError(f"{count} shapes of {len(sizes)} objects: there must be as many objects, with sizes above 0")
    shapes = _spread_start(sizes, count, torch.Generator().manual_seed(seed))
    nearest = torch.full((len(sizes),), -1)
    for _ in range(most_rounds):
        before, nearest = nearest, shape_iou(sizes, shapes).argmax(dim=1)
        if torch.equal(before, nearest):
            break
        members = torch.bincount(nearest, minlength=count)[:, None]
        sums = torch.zeros_like(shapes).index_add_(0, nearest, sizes)
        shapes = torch.where(members > 0, sums / members.clamp(min=1), shapes)  # what nobody is near to stays
    shapes = shapes[shapes.prod(dim=1).argsort()]
    return Clusters(shapes, shape_iou(sizes, shapes).amax(dim=1).mean().item())


def _spread_start(sizes: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Objects' own sizes [count, 2], each drawn the likelier the less the ones before fit it."""
    chosen = [int(torch.randint(len(sizes), (1,), generator=generator))]
    for _ in range(count - 1):
        distance = (1 - shape_iou(sizes, sizes[chosen]).amax(dim=1)).clamp(min=0).square()
        if not distance.any():  # fewer different sizes than shapes
            distance = torch.ones_like(distance)
        chosen.append(int(torch.multinomial(distance, 1, generator=generator)))
    return sizes[chosen]
