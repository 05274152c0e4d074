"""Position-sensitive RoI pooling as in the authors' code of R-FCN (Dai et al. 2016)."""

import torch
from torch import Tensor
from torch.nn import functional

MIN_SIDE = 0.1
"""Minimum height and width of a region in positions of the map, as in the authors' code."""


def position_sensitive_pool(maps: Tensor, regions: list[Tensor], size: int, scale: float) -> Tensor:
    """Average the positions in each cell of each region, every cell on its own maps.

    The edges of a region are rounded to pixels and multiplied by `scale`. The edges of its cells stay fractional, and a
    cell has all positions that it touches. `torchvision.ops.ps_roi_pool` has another rule: it rounds regions to
    positions of the map. The authors' boxes contain their last pixel, which is why their code adds 1 to the far edges.

    Args:
        maps: [B, C size size, h, w]; channel (c size + row) size + column is for the cell in that row and column.
        regions: per image [S, 4], xyxy in pixels; R in total.
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
    boxes = torch.cat(regions)
    top, bottom = _cell_edges(boxes[:, 1], boxes[:, 3], size, height, scale)
    left, right = _cell_edges(boxes[:, 0], boxes[:, 2], size, width, scale)
    table = maps.unflatten(1, (-1, size * size)).permute(0, 2, 3, 4, 1).flatten(0, 3)
    images = torch.arange(len(regions), device=maps.device).repeat_interleave(
        torch.tensor([len(own) for own in regions], device=maps.device)
    )
    cells = images[:, None] * size * size + torch.arange(size * size, device=maps.device)
    shape = (len(boxes), size, size)
    columns = (right - left)[:, None, :].expand(shape).flatten()
    counts = ((bottom - top)[:, :, None] * (right - left)[:, None, :]).flatten()
    starts = counts.cumsum(0) - counts
    # One entry for each position of each cell, row by row. The mean over a cell is that over a bag of table rows.
    bag = torch.arange(len(counts), device=maps.device).repeat_interleave(counts)
    offset = torch.arange(len(bag), device=maps.device) - starts[bag]
    y = top[:, :, None].expand(shape).flatten()[bag] + offset // columns[bag]
    x = left[:, None, :].expand(shape).flatten()[bag] + offset % columns[bag]
    pooled = functional.embedding_bag((cells.flatten()[bag] * height + y) * width + x, table, starts, mode="mean")
    return pooled.unflatten(0, shape).permute(0, 3, 1, 2)


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
