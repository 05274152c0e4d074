"""Processing of images of any size in overlapping tiles, whose results are blended."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor


class Tile(NamedTuple):
    """Rectangle of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, image: Tensor) -> Tensor:
        """Return the part of an image [..., H, W] inside the tile, as a view."""
        return image[..., self.top : self.top + self.height, self.left : self.left + self.width]


def tile_starts(length: int, tile: int, overlap: int) -> list[int]:
    """Return the start of each tile along one side; the last tile ends with the image, and the overlaps are equal.

    Args:
        length: length of the side in pixels.
        tile: side of a tile in pixels; a shorter image has one tile of its own length.
        overlap: minimum overlap of neighboring tiles in pixels, below `tile`.
    """
    if length <= tile:
        return [0]
    count = math.ceil((length - overlap) / (tile - overlap))
    return [round(index * (length - tile) / (count - 1)) for index in range(count)]


def blending_weights(height: int, width: int, overlap: int) -> Tensor:
    """Return the weights of a tile's pixels, float32 [height, width], which fall over `overlap` pixels to its edges."""

    def ramp(length: int) -> Tensor:
        to_edge = torch.minimum(torch.arange(length), torch.arange(length - 1, -1, -1)) + 1.0
        return (to_edge / (overlap + 1)).clamp(max=1.0)

    return ramp(height)[:, None] * ramp(width)


def blended_strips(
    height: int, width: int, tile: int, overlap: int, answer: Callable[[list[Tile]], Iterator[Tensor]]
) -> Iterator[Tensor]:
    """Blend the results of an image's tiles, and yield them from top to bottom as soon as they are final.

    Only one row of tiles is in memory at a time, independent of the image's height.

    Args:
        height: height of the image in pixels.
        width: width of the image in pixels.
        tile: side of the tiles in pixels; tiles are smaller only if the image is smaller.
        overlap: minimum overlap of neighboring tiles in pixels.
        answer: function from a row of tiles to their results, [C, h, w] each, in order.

    Yields:
        Strips, float32 [C, rows, width], with `height` rows in total.
    """
    tops, lefts = tile_starts(height, tile, overlap), tile_starts(width, tile, overlap)
    tall, wide = min(tile, height), min(tile, width)
    weights: Tensor | None = None
    total: Tensor | None = None  # [C + 1, tall, width]: weighted results of the rows that are not final, and weights
    for top, following in zip(tops, [*tops[1:], height], strict=True):
        row = [Tile(top, left, tall, wide) for left in lefts]
        for place, values in zip(row, answer(row), strict=True):
            if weights is None or total is None:
                weights = blending_weights(tall, wide, overlap).to(values.device)
                total = values.new_zeros((len(values) + 1, tall, width), dtype=torch.float32)
            columns = total[..., place.left : place.left + wide]
            columns[:-1] += values * weights
            columns[-1] += weights
        assert total is not None
        final = following - top
        yield total[:-1, :final] / total[-1:, :final]
        total = torch.cat([total[:, final:], total.new_zeros((len(total), final, width))], dim=1)
