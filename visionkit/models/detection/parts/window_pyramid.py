"""An image pyramid, and the windows of one size on a grid over each of its levels."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from visionkit.models.detection.parts.anchors import CachedAnchorGenerator


class Window(NamedTuple):
    """The input of a sliding window classifier.

    Attributes:
        side: side of the square window in pixels.
        stride: distance of neighboring windows in pixels.
        context: pixels on each side of the window that surround its box.
    """

    side: int
    stride: int
    context: int

    @property
    def box(self) -> int:
        """Side in pixels of the box in the middle of the window."""
        return self.side - 2 * self.context

    def count(self, extent: int) -> int:
        """Return how many windows fit into `extent` pixels."""
        return (extent - self.side) // self.stride + 1

    def padded_extent(self, extent: int) -> int:
        """Return the pixels that `extent` pixels are padded to, so that the boxes of whole windows cover them."""
        return self.side + math.ceil(max(extent - self.box, 0) / self.stride) * self.stride


class WindowPyramid(CachedAnchorGenerator):
    """An image pyramid with one level for each size and aspect ratio of objects.

    On its level, an object of that size and ratio fills the box of a window.

    Args:
        window: the classifier's window.
        sizes: sizes of objects: side in pixels of the model's input of a square of the same area.
        ratios: height / width of objects; each with all sizes. Ratios other than 1 distort the image.
    """

    def __init__(self, window: Window, sizes: Sequence[float], ratios: Sequence[float]) -> None:
        super().__init__()
        self.window = window
        self.objects = [(size * math.sqrt(ratio), size / math.sqrt(ratio)) for ratio in ratios for size in sizes]

    def levels(self, images: Tensor) -> list[Tensor]:
        """Return the levels of the pyramid, padded with zeros, the mean color, so that windows cover all of the image.

        Args:
            images: [B, 3, H, W], of any size.

        Returns:
            [B, 3, h, w] of each level; the image's upper left corner is `context` pixels inside.
        """
        levels = []
        for height, width in self._level_sizes(images.shape[-2], images.shape[-1]):
            # float32 because bfloat16 has no antialiasing
            resized = functional.interpolate(images.float(), (height, width), mode="bilinear", antialias=True)
            before = self.window.context
            bottom, right = (self.window.padded_extent(extent) - extent - before for extent in (height, width))
            levels.append(functional.pad(resized.to(images.dtype), (before, right, before, bottom)))
        return levels

    def windows(self, level: Tensor) -> Tensor:
        """Return all windows of a level [B, 3, h, w], as a view [B, 3, rows, columns, side, side] of it."""
        side, stride, _ = self.window
        return level.unfold(2, side, stride).unfold(3, side, stride)

    def generate(self, padded: tuple[int, int], maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the windows' boxes in pixels of the image, row by row; `maps` are the levels of the pyramid."""
        boxes = []
        for (height, width), level in zip(self._level_sizes(*padded), maps, strict=True):
            y1, y2 = self._box_edges(level.shape[-2], padded[0] / height, level.device)
            x1, x2 = self._box_edges(level.shape[-1], padded[1] / width, level.device)
            corners = [torch.meshgrid(y, x, indexing="ij")[::-1] for y, x in ((y1, x1), (y2, x2))]
            boxes.append(torch.stack([*corners[0], *corners[1]], dim=-1).flatten(0, 1))
        return boxes

    def shapes(self, input_size: tuple[int, int] | None = None) -> Tensor:
        """Return width and height of the objects that the levels are for; see `CachedAnchorGenerator.shapes`."""
        return torch.tensor([(width, height) for height, width in self.objects])

    def _level_sizes(self, height: int, width: int) -> Iterator[tuple[int, int]]:
        """Yield height and width in pixels of an image on each level."""
        box = self.window.box
        for object_height, object_width in self.objects:
            yield max(round(height * box / object_height), 1), max(round(width * box / object_width), 1)

    def _box_edges(self, extent: int, scale: float, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return first and last edge of the boxes along a side of a level; `scale` is image pixels per level pixel."""
        first = torch.arange(self.window.count(extent), dtype=torch.float32, device=device) * self.window.stride
        return first * scale, (first + self.window.box) * scale
