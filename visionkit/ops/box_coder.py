"""Box regression deltas of R-CNN, SSD and RetinaNet."""

import math

import torch
from torch import Tensor

MAX_LOG_SCALE = math.log(1000 / 16)
"""Bound on the logarithm of a decoded side relative to the anchor's, so that boxes stay finite (torchvision's)."""


class BoxCoder:
    """Codes boxes relative to anchors or proposals: shifts of the center and logarithms of the sides.

    Returns the same as torchvision's `BoxCoder` (Girshick et al. 2014, appendix C).

    Args:
        weights: factors of the deltas: of both coordinates of the center, and of both sides.
    """

    def __init__(self, weights: tuple[float, float] = (1.0, 1.0)) -> None:
        self.center_weight, self.side_weight = weights

    def encode(self, boxes: Tensor, anchors: Tensor) -> Tensor:
        """Return the deltas [..., 4] of boxes [..., 4] xyxy relative to anchors [..., 4] xyxy."""
        centers, sides = _centers_and_sides(boxes)
        anchor_centers, anchor_sides = _centers_and_sides(anchors)
        shifts = self.center_weight * (centers - anchor_centers) / anchor_sides
        return torch.cat([shifts, self.side_weight * (sides / anchor_sides).log()], dim=-1)

    def decode(self, deltas: Tensor, anchors: Tensor) -> Tensor:
        """Return the boxes [..., 4] xyxy of deltas [..., 4] and anchors [..., 4] xyxy, in the deltas' dtype.

        Anchors broadcast: deltas [N, K, 4] of K classes go with anchors [N, 1, 4].
        """
        shifts, log_scales = deltas[..., :2] / self.center_weight, deltas[..., 2:] / self.side_weight
        anchor_centers, anchor_sides = _centers_and_sides(anchors.to(deltas.dtype))
        centers = shifts * anchor_sides + anchor_centers
        half_sides = 0.5 * (log_scales.clamp(max=MAX_LOG_SCALE).exp() * anchor_sides)
        return torch.cat([centers - half_sides, centers + half_sides], dim=-1)


def _centers_and_sides(boxes: Tensor) -> tuple[Tensor, Tensor]:
    sides = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * sides, sides
