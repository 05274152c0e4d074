"""Regions cut out of the image and warped to a network's input (Girshick 2013, section 2.1 and appendix A)."""

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align


class RegionWarp(nn.Module):
    """Warps each region, with its surroundings, to a square; what lies outside of the image is 0, the mean color.

    Args:
        size: side of the square in pixels.
        context: pixels of the square on each side that show what surrounds the region (the paper: 16).
    """

    def __init__(self, size: int, context: int) -> None:
        super().__init__()
        self.size, self.context = size, context

    def forward(self, maps: dict[str, Tensor], regions: list[Tensor]) -> Tensor:
        """Cut regions [S, 4] of each image, R together, out of `maps["image"]` [B, 3, H, W]: [R, 3, size, size]."""
        return roi_align(
            maps["image"], [self._with_context(boxes) for boxes in regions], self.size, sampling_ratio=2, aligned=True
        )

    def _with_context(self, boxes: Tensor) -> Tensor:
        """Boxes [S, 4] grown about their centers, so that they themselves fill the square but for the context."""
        half = (boxes[:, 2:] - boxes[:, :2]) / 2 * self.size / (self.size - 2 * self.context)
        center = (boxes[:, :2] + boxes[:, 2:]) / 2
        return torch.cat([center - half, center + half], dim=1)
