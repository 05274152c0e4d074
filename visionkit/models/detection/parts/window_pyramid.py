"""An image in several sizes, and the windows of one size that lie on a grid over each of them."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from visionkit.models.detection.parts.anchors import KeptGrids


class Window(NamedTuple):
    """What a classifier looks at.

    Attributes:
        side: of the square in pixels.
        stride: pixels from one to the next.
        context: pixels of it on each side that show what surrounds its box.
    """

    side: int
    stride: int
    context: int

    @property
    def box(self) -> int:
        """Side in pixels of the box in the middle."""
        return self.side - 2 * self.context

    def places(self, extent: int) -> int:
        """How many windows have room in `extent` pixels."""
        return (extent - self.side) // self.stride + 1

    def needed(self, extent: int) -> int:
        """Pixels that whole windows need whose boxes reach from the first to beyond the last of `extent` pixels."""
        return self.side + math.ceil(max(extent - self.box, 0) / self.stride) * self.stride


class WindowPyramid(KeptGrids):
    """Each level has the image as large as makes objects of one size and shape fill the windows' boxes.

    Args:
        window: of the classifier.
        sizes: of the objects; side in pixels of the network's input of a square of the same area.
        ratios: height / width of the objects; each with all sizes. Others than 1 distort the image.
    """

    def __init__(self, window: Window, sizes: Sequence[float], ratios: Sequence[float]) -> None:
        super().__init__()
        self.window = window
        self.objects = [(size * math.sqrt(ratio), size / math.sqrt(ratio)) for ratio in ratios for size in sizes]

    def levels(self, images: Tensor) -> list[Tensor]:
        """Resize images, and add zeros around them, the mean color, so that windows reach all of each.

        Args:
            images: [B, 3, H, W], of any size.

        Returns:
            For each level [B, 3, h, w], the upper left corner of the image `context` pixels inside.
        """
        levels = []
        for height, width in self._resized(images.shape[-2], images.shape[-1]):
            # float32 since bfloat16 has no antialiasing; nothing is summed up here that would need to be fast
            resized = functional.interpolate(images.float(), (height, width), mode="bilinear", antialias=True)
            before = self.window.context
            below, right = (self.window.needed(extent) - extent - before for extent in (height, width))
            levels.append(functional.pad(resized.to(images.dtype), (before, right, before, below)))
        return levels

    def cut(self, level: Tensor) -> Tensor:
        """All windows of a level [B, 3, h, w], as a view [B, 3, rows, columns, side, side] of it."""
        side, stride, _ = self.window
        return level.unfold(2, side, stride).unfold(3, side, stride)

    def make(self, padded: tuple[int, int], maps: Sequence[Tensor]) -> list[Tensor]:
        """The windows' boxes in pixels of the image, row by row, see `KeptGrids.make`; `maps` are the levels."""
        boxes = []
        for (height, width), level in zip(self._resized(*padded), maps, strict=True):
            ends = [
                self._ends(level.shape[dimension], whole / extent, level.device)
                for dimension, whole, extent in ((-2, padded[0], height), (-1, padded[1], width))
            ]
            (y1, y2), (x1, x2) = ends
            corners = [torch.meshgrid(y, x, indexing="ij")[::-1] for y, x in ((y1, x1), (y2, x2))]
            boxes.append(torch.stack([*corners[0], *corners[1]], dim=-1).flatten(0, 1))
        return boxes

    def shapes(self, input_size: tuple[int, int] | None = None) -> Tensor:
        """See `KeptGrids.shapes`."""
        return torch.tensor([(width, height) for height, width in self.objects])

    def _resized(self, height: int, width: int) -> Iterator[tuple[int, int]]:
        """Height and width in pixels of an image on each level."""
        box = self.window.box
        for object_height, object_width in self.objects:
            yield max(round(height * box / object_height), 1), max(round(width * box / object_width), 1)

    def _ends(self, extent: int, pixel: float, device: torch.device) -> tuple[Tensor, Tensor]:
        """First and last edge of the boxes along one side of a level, whose pixels are `pixel` of the image's."""
        first = torch.arange(self.window.places(extent), dtype=torch.float32, device=device) * self.window.stride
        return first * pixel, (first + self.window.box) * pixel
