"""YOLO's grid: anchors in the cells of a grid, and their matching to the objects whose centers fall into the cells."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from visionkit.models.detection.parts.anchors import CachedAnchorGenerator
from visionkit.ops.anchor_iou import shape_iou
from visionkit.ops.boxes import box_centers
from visionkit.ops.matching import PaddedObjects, ignore_crowds


class YOLOAnchors(CachedAnchorGenerator):
    """Anchors centered in each cell of a grid over the input.

    Args:
        shapes: width and height in pixels of the anchors of each cell. None makes each anchor as large as its cell.
        per_cell: number of anchors of a cell if `shapes` is None.
        cells: number of cells along each side. None makes one cell for each position of the feature map.
    """

    def __init__(
        self, shapes: Sequence[Sequence[float]] | None = None, per_cell: int = 1, cells: int | None = None
    ) -> None:
        super().__init__()
        self.cells = cells
        self._shapes = None if shapes is None else torch.tensor(shapes)
        self.per_cell = per_cell if self._shapes is None else len(self._shapes)

    def shapes(self, input_size: tuple[int, int] | None = None) -> Tensor:
        """Return width and height of the anchors, empty if they are cells; see `CachedAnchorGenerator.shapes`."""
        return torch.zeros(0, 2) if self._shapes is None else self._shapes

    def generate(self, padded: tuple[int, int], maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the anchors of each level, row by row, cell by cell; see `CachedAnchorGenerator.generate`."""
        return [self._level_anchors(padded, level) for level in maps]

    def _level_anchors(self, padded: tuple[int, int], level: Tensor) -> Tensor:
        rows, columns = (self.cells, self.cells) if self.cells is not None else level.shape[-2:]
        cell = torch.tensor([padded[1] / columns, padded[0] / rows])
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        centers = (torch.stack([x, y], dim=-1).view(-1, 1, 2) + 0.5) * cell
        sides = cell.expand(self.per_cell, 2) if self._shapes is None else self._shapes
        corners = torch.cat([centers - sides / 2, centers + sides / 2], dim=-1)
        return corners.view(-1, 4).to(level.device)


def area_shares(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Return the area [M] of boxes [M, 4] as shares of the input's area, which `YOLOAnchors` [A, 4] cover."""
    # The first center is as far from the upper left corner of the input as the last one from the lower right corner.
    input_sides = box_centers(anchors[0]) + box_centers(anchors[-1])
    return (boxes[:, 2:] - boxes[:, :2]).prod(dim=1) / input_sides.prod()


def cell_indices(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Return the index of the cell, row by row, that the center of each box falls into.

    Args:
        boxes: [..., 4].
        anchors: [A, 4], of `YOLOAnchors`.

    Returns:
        int64 [...]; a center on the far edge of the input belongs to the last cell.
    """
    # The first center is half a cell away from the corner of the input; the last one is that of the last cell.
    first, last = box_centers(anchors[0]), box_centers(anchors[-1])
    count = (last / (2 * first) + 0.5).round()
    column_and_row = (box_centers(boxes) / (2 * first)).floor().clamp(min=0).minimum(count - 1)
    return (column_and_row[..., 1] * count[0] + column_and_row[..., 0]).long()


def match_cells(anchors: Tensor, objects: PaddedObjects, per_cell: int) -> tuple[Tensor, Tensor]:
    """Match all anchors of a cell to the object whose center is in it (Redmon et al. 2015, section 2).

    If the centers of several objects are in one cell, the object listed first is matched.

    Args:
        anchors: [A, 4], of `YOLOAnchors`.
        objects: ground truth of the images.
        per_cell: number of anchors of a cell.

    Returns:
        Classes int64 [B, A] and matched objects int64 [B, A], as `visionkit.ops.matching.assign` returns them.
    """
    first_anchors = cell_indices(objects.boxes, anchors) * per_cell
    return _assign(anchors, objects, first_anchors[..., None] + torch.arange(per_cell, device=anchors.device))


def match_shapes(anchors: Tensor, objects: PaddedObjects, per_cell: int) -> tuple[Tensor, Tensor]:
    """Match each object to the anchor of its cell with the most similar shape (Redmon & Farhadi 2016, authors' code).

    If several objects have the same anchor, the object listed first is matched. Arguments and result are those of
    `match_cells`.
    """
    shapes = anchors[:per_cell, 2:] - anchors[:per_cell, :2]
    best = shape_iou(objects.boxes[..., 2:] - objects.boxes[..., :2], shapes).argmax(dim=-1)
    return _assign(anchors, objects, (cell_indices(objects.boxes, anchors) * per_cell + best)[..., None])


def _assign(anchors: Tensor, objects: PaddedObjects, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Return classes and matched objects of the anchors, of which `indices` [B, M, n] are those of each object."""
    images, unmatched = objects.valid.shape
    numbers = torch.arange(unmatched, device=anchors.device)[:, None].expand_as(indices)
    numbers = numbers.masked_fill(~objects.valid[..., None], unmatched)
    all_unmatched = torch.full((images, len(anchors)), unmatched, device=anchors.device)
    matched = all_unmatched.scatter_reduce(1, indices.flatten(1), numbers.flatten(1), "amin")
    classes = functional.pad(objects.labels + 1, (0, 1)).gather(1, matched)
    return ignore_crowds(classes, anchors, objects), matched.masked_fill(matched == unmatched, 0)
