"""Warping of regions to the input size of a network (Girshick et al. 2013, section 2.1 and appendix A)."""

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align
from torchvision.ops._utils import convert_boxes_to_roi_format


class RegionWarp(nn.Module):
    """Warps each region with its context to a square. Pixels outside the image are 0, the mean color.

    Args:
        size: side of the square in pixels.
        context: pixels of the square on each side that show the surroundings of the region (section 2.1: 16).
    """

    def __init__(self, size: int, context: int) -> None:
        super().__init__()
        self.size, self.context = size, context

    def forward(self, maps: dict[str, Tensor], regions: Tensor | list[Tensor]) -> Tensor:
        """Return [R, 3, size, size] of `maps["image"]` [B, 3, H, W] and regions, see `RoIHeads.forward`."""
        rois = regions if isinstance(regions, Tensor) else convert_boxes_to_roi_format(regions)
        return roi_align(maps["image"], self._with_context(rois), self.size, sampling_ratio=2, aligned=True)

    def _with_context(self, rois: Tensor) -> Tensor:
        """Return regions [R, 5] enlarged about their centers by the context."""
        half = (rois[:, 3:] - rois[:, 1:3]) / 2 * self.size / (self.size - 2 * self.context)
        center = (rois[:, 1:3] + rois[:, 3:]) / 2
        return torch.cat([rois[:, :1], center - half, center + half], dim=1)
