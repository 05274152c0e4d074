"""Anchor shapes by k-means over the objects of a dataset (Redmon & Farhadi 2016, section 2)."""

from typing import NamedTuple

import torch
from torch import Tensor

from visionkit.ops.anchor_iou import shape_iou


class ShapeClusters(NamedTuple):
    """Result of k-means over box shapes.

    Attributes:
        shapes: float64 [count, 2], width and height, the smallest area first.
        mean_iou: mean IoU of the objects with their best shape, in 0..1 (table 1 of the paper).
    """

    shapes: Tensor
    mean_iou: float


def cluster_shapes(sizes: Tensor, count: int, seed: int = 0, max_iterations: int = 300) -> ShapeClusters:
    """Compute `count` box shapes by k-means with the distance 1 - IoU, which does not favor large boxes.

    Args:
        sizes: [N, 2], width and height of the objects, above 0, in any unit.
        count: number of shapes, at most N.
        seed: seed of the initialization, which is k-means++ (Arthur & Vassilvitskii 2007).
        max_iterations: iterations after which k-means stops without convergence.

    Raises:
        ValueError: there are fewer objects than shapes, or a size is not above 0.
    """
    sizes = sizes.double()
    if not 1 <= count <= len(sizes) or not (sizes > 0).all():
        raise ValueError(
            f"{count} shapes cannot be computed from {len(sizes)} objects: give at least as many objects as shapes, "
            "with sizes above 0"
        )
    shapes = _initial_shapes(sizes, count, torch.Generator().manual_seed(seed))
    nearest = torch.full((len(sizes),), -1)
    for _ in range(max_iterations):
        previous, nearest = nearest, shape_iou(sizes, shapes).argmax(dim=1)
        if torch.equal(previous, nearest):
            break
        members = torch.bincount(nearest, minlength=count)[:, None]
        sums = torch.zeros_like(shapes).index_add_(0, nearest, sizes)
        shapes = torch.where(members > 0, sums / members.clamp(min=1), shapes)  # an empty cluster keeps its shape
    shapes = shapes[shapes.prod(dim=1).argsort()]
    return ShapeClusters(shapes, shape_iou(sizes, shapes).amax(dim=1).mean().item())


def _initial_shapes(sizes: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Return sizes [count, 2] of objects, drawn with the squared distance to the ones drawn before as weight."""
    chosen = [int(torch.randint(len(sizes), (1,), generator=generator))]
    for _ in range(count - 1):
        distance = (1 - shape_iou(sizes, sizes[chosen]).amax(dim=1)).clamp(min=0).square()
        if not distance.any():  # fewer different sizes than shapes
            distance = torch.ones_like(distance)
        chosen.append(int(torch.multinomial(distance, 1, generator=generator)))
    return sizes[chosen]
