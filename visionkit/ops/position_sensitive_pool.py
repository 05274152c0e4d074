"""Position-sensitive RoI pooling as in the authors' code of R-FCN (Dai et al. 2016)."""

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops._utils import convert_boxes_to_roi_format

MIN_SIDE = 0.1
"""Minimum height and width of a region in positions of the map, as in the authors' code."""


def position_sensitive_pool(maps: Tensor, regions: Tensor | list[Tensor], size: int, scale: float) -> Tensor:
    """Average the positions in each cell of each region, every cell on its own maps.

    The edges of a region are rounded to pixels and multiplied by `scale`. The edges of its cells stay fractional, and a
    cell has all positions that it touches. `torchvision.ops.ps_roi_pool` has another rule: it rounds regions to
    positions of the map. The authors' boxes contain their last pixel, which is why their code adds 1 to the far edges.

    Args:
        maps: [B, C size size, h, w]; channel (c size + row) size + column is for the cell in that row and column.
        regions: per image [S, 4], xyxy in pixels, R in total, or all with the number of their image [R, 5].
        size: cells of a region in each direction.
        scale: positions of the map per pixel.

    Returns:
        [R, C, size, size], the mean of the positions in each cell, 0 for a cell outside of the map.

    Example:
        >>> import torch
        >>> from visionkit.ops.position_sensitive_pool import position_sensitive_pool
        >>> maps = torch.arange(4.0).view(1, 4, 1, 1).expand(1, 4, 8, 8)
        >>> position_sensitive_pool(maps, [torch.tensor([[0.0, 0, 64, 64]])], size=2, scale=1 / 8)
        tensor([[[[0., 1.],
                  [2., 3.]]]])
    """
    height, width = maps.shape[-2:]
    rois = regions if isinstance(regions, Tensor) else convert_boxes_to_roi_format(regions)
    top, bottom = (edges[:, :, None] for edges in _cell_edges(rois[:, 2], rois[:, 4], size, height, scale))
    left, right = (edges[:, None, :] for edges in _cell_edges(rois[:, 1], rois[:, 3], size, width, scale))
    sums = _summed_areas(maps, size)
    cells = torch.arange(size * size, device=maps.device).view(size, size)
    first = (rois[:, 0].long().view(-1, 1, 1) * size * size + cells) * (height + 1) * (width + 1)
    total = sum(
        sign * sums.index_select(0, (first + y * (width + 1) + x).flatten())
        for sign, y, x in ((1, bottom, right), (-1, top, right), (-1, bottom, left), (1, top, left))
    )
    counts = ((bottom - top) * (right - left)).clamp(min=1)
    return (total / counts.view(-1, 1)).to(maps.dtype).unflatten(0, first.shape).permute(0, 3, 1, 2)


def _summed_areas(maps: Tensor, size: int) -> Tensor:
    """Return the sums over all positions above and to the left of each one, in float64, as rows of C channels.

    Args:
        maps: [B, C size size, h, w].
        size: see `position_sensitive_pool`.

    Returns:
        [B size size (h + 1) (w + 1), C]. The sum over a rectangle is that of four rows.
    """
    table = maps.double().unflatten(1, (-1, size * size)).permute(0, 2, 3, 4, 1)
    return functional.pad(table.cumsum(2).cumsum(3), (0, 0, 1, 0, 1, 0)).flatten(0, 3)


def _cell_edges(first: Tensor, last: Tensor, size: int, length: int, scale: float) -> tuple[Tensor, Tensor]:
    """Return the first position of each cell along one axis and the position after its last one, int64 [S, size] each.

    Args:
        first: near edges [S] of the regions in pixels.
        last: far edges [S].
        size: number of cells.
        length: number of positions.
        scale: positions per pixel.
    """
    start, end = _round(first) * scale, _round(last) * scale
    side = (end - start).clamp(min=MIN_SIDE) / size
    cells = torch.arange(size, device=first.device)
    lower = (cells * side[:, None] + start[:, None]).floor().clamp(0, length).long()
    upper = ((cells + 1) * side[:, None] + start[:, None]).ceil().clamp(0, length).long()
    return lower, upper.maximum(lower)


def _round(edges: Tensor) -> Tensor:
    """Return the nearest whole numbers; halves are rounded away from zero, as in C."""
    return edges.sign() * (edges.abs() + 0.5).floor()
