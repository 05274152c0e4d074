"""Box regression deltas of R-CNN, SSD and RetinaNet."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

MAX_LOG_SCALE = math.log(1000 / 16)
"""Bound on the logarithm of a decoded side relative to the anchor's, so that boxes stay finite (torchvision's)."""


class BoxCoder:
    """Codes boxes relative to anchors or proposals: shifts of the center and logarithms of the sides.

    Returns the same as torchvision's `BoxCoder` (Girshick et al. 2014, appendix C).

    Args:
        weights: factors of the four deltas: x and y of the center, width and height.
    """

    def __init__(self, weights: Sequence[float] = (1.0, 1.0, 1.0, 1.0)) -> None:
        self.weights = tuple(weights)

    def encode(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """Return the deltas [..., 4] of boxes [..., 4] xyxy relative to anchors [..., 4] xyxy."""
        weights = boxes.new_tensor(self.weights)
        centers, sides = _centers_and_sides(boxes)
        anchor_centers, anchor_sides = _centers_and_sides(anchors)
        shifts = weights[:2] * (centers - anchor_centers) / anchor_sides
        return torch.cat([shifts, weights[2:] * (sides / anchor_sides).log()], dim=-1)

    def decode(self, deltas: Tensor, anchors: Tensor) -> Tensor:
        """Return the boxes [..., 4] xyxy of deltas [..., 4] and anchors [..., 4] xyxy, in the deltas' dtype.

        Anchors broadcast: deltas [N, K, 4] of K classes go with anchors [N, 1, 4].
        """
        deltas = deltas / deltas.new_tensor(self.weights)
        anchor_centers, anchor_sides = _centers_and_sides(anchors.to(deltas.dtype))
        centers = deltas[..., :2] * anchor_sides + anchor_centers
        half_sides = 0.5 * (deltas[..., 2:].clamp(max=MAX_LOG_SCALE).exp() * anchor_sides)
        return torch.cat([centers - half_sides, centers + half_sides], dim=-1)


def _centers_and_sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    sides = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * sides, sides
