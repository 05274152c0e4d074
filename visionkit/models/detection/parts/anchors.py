"""Grids of anchors, kept for the input sizes seen last."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator

Grid = tuple[Tensor, list[int]]
"""All anchors of one image, float32 [A, 4] in pixels, level after level, and how many belong to each level."""


class KeptGrids:
    """Makes the anchors of an input size once; in float32 under any precision.

    Subclasses say in `make` how.
    """

    most = 16

    def __init__(self) -> None:
        self._grids: dict[tuple[object, ...], Grid] = {}

    def grid(self, padded: tuple[int, int], maps: Sequence[Tensor]) -> Grid:
        """All anchors of one image.

        Args:
            padded: height and width of the batch in pixels.
            maps: one feature map [B, C, h, w] for each level.

        Returns:
            float32 [A, 4], level after level, and how many belong to each level.
        """
        key = (*padded, *(tuple(level.shape[-2:]) for level in maps), maps[0].device)
        if key not in self._grids:
            if len(self._grids) >= self.most:
                self._grids.pop(next(iter(self._grids)))
            # Made in a validation under inference mode, anchors would be of no use to a later training step.
            with torch.inference_mode(False):
                levels = self.make(padded, maps)
                self._grids[key] = torch.cat(levels), [len(level) for level in levels]
        return self._grids[key]

    def make(self, padded: tuple[int, int], maps: Sequence[Tensor]) -> list[Tensor]:
        """The anchors float32 [A, 4] of each level; arguments as of `grid`."""
        raise NotImplementedError

    def shapes(self, input_size: tuple[int, int] | None = None) -> Tensor:
        """Width and height [number, 2] in pixels of every kind of anchor, on the CPU.

        Args:
            input_size: height and width in pixels of the network's input, where anchors are shares of it.
        """
        raise NotImplementedError


class Anchors(AnchorGenerator, KeptGrids):
    """torchvision's anchors (Ren et al. 2015, section 3.1.1).

    Args:
        sizes: for each level the sides in pixels of its square anchors.
        ratios: height / width.
    """

    def __init__(self, sizes: Sequence[Sequence[int]], ratios: Sequence[float]) -> None:
        AnchorGenerator.__init__(self, tuple(map(tuple, sizes)), (tuple(ratios),) * len(sizes))
        KeptGrids.__init__(self)

    def shapes(self, input_size: tuple[int, int] | None = None) -> Tensor:
        """See `KeptGrids.shapes`."""
        cells = torch.cat([cell.cpu() for cell in self.cell_anchors])
        return cells[:, 2:] - cells[:, :2]

    def make(self, padded: tuple[int, int], maps: Sequence[Tensor]) -> list[Tensor]:
        """See `KeptGrids.make`."""
        self.set_cell_anchors(torch.float32, maps[0].device)
        grid_sizes = [list(level.shape[-2:]) for level in maps]
        strides = [[torch.tensor(padded[0] // h), torch.tensor(padded[1] // w)] for h, w in grid_sizes]
        levels: list[Tensor] = self.grid_anchors(grid_sizes, strides)
        return levels
