"""YOLO's grid: every cell has boxes of its own, and an object belongs to the cell that its center falls into."""

from collections.abc import Sequence

import torch
from torch import Tensor

from visionkit.models.detection.parts.anchors import KeptGrids
from visionkit.ops.anchor_iou import shape_iou
from visionkit.ops.boxes import share_inside
from visionkit.ops.matching import CROWD_SHARE, Objects


class GridBoxes(KeptGrids):
    """Boxes of given shapes in the middle of each cell.

    Args:
        shapes: width and height in pixels of the network's input, the same for every cell; None is the cell itself.
        boxes: of each cell where `shapes` are None.
        cells: along each side, whatever the map's size; None is one for each place of the map.
    """

    def __init__(
        self, shapes: Sequence[Sequence[float]] | None = None, boxes: int = 1, cells: int | None = None
    ) -> None:
        super().__init__()
        self.cells = cells
        self.given = None if shapes is None else torch.tensor(shapes)
        self.per_cell = boxes if self.given is None else len(self.given)

    def shapes(self, input_size: tuple[int, int] | None = None) -> Tensor:
        """See `KeptGrids.shapes`; none where there are only cells."""
        return torch.zeros(0, 2) if self.given is None else self.given

    def make(self, padded: tuple[int, int], maps: Sequence[Tensor]) -> list[Tensor]:
        """See `KeptGrids.make`; row by row, cell by cell, the boxes of a cell one after the other."""
        return [self._of_one_map(padded, level) for level in maps]

    def _of_one_map(self, padded: tuple[int, int], level: Tensor) -> Tensor:
        rows, columns = (self.cells, self.cells) if self.cells is not None else level.shape[-2:]
        cell = torch.tensor([padded[1] / columns, padded[0] / rows])
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        centers = (torch.stack([x, y], dim=-1).view(-1, 1, 2) + 0.5) * cell
        sides = cell.expand(self.per_cell, 2) if self.given is None else self.given
        corners = torch.cat([centers - sides / 2, centers + sides / 2], dim=-1)
        return corners.view(-1, 4).to(level.device)


def centers_of(boxes: Tensor) -> Tensor:
    """Centers [N, 2] of boxes [N, 4]."""
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def shares(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Area [M] of boxes [M, 4] as shares of the network's input, over which a `GridBoxes` has laid `anchors` [A, 4]."""
    # The first center is as far from the upper left corner as the last is from the lower right one.
    sides = centers_of(anchors[[0, -1]]).sum(dim=0)
    return (boxes[:, 2:] - boxes[:, :2]).prod(dim=1) / sides.prod()


def cells_of(boxes: Tensor, anchors: Tensor) -> Tensor:
    """Number of the cell, row by row, that the center of each box falls into.

    Args:
        boxes: [M, 4].
        anchors: [A, 4], a grid from `GridBoxes`.

    Returns:
        int64 [M]; a center on the far edge of the input belongs to the last cell.
    """
    # The first center is half a cell away from the corner of the image, and the last is that of the last cell.
    first, last = centers_of(anchors[[0, -1]])
    number = (last / (2 * first) + 0.5).round()
    place = (centers_of(boxes) / (2 * first)).floor().clamp(min=0).minimum(number - 1)
    return (place[:, 1] * number[0] + place[:, 0]).long()


def match_cells(anchors: Tensor, objects: Objects, per_cell: int) -> tuple[Tensor, Tensor]:
    """All boxes of a cell mean its object (Redmon et al. 2015, section 2); of several objects, the one listed first.

    Args:
        anchors: [A, 4], a grid from `GridBoxes`.
        objects: of the image.
        per_cell: boxes of a cell.

    Returns:
        As `assign`: classes int64 [A] and the objects meant int64 [A].
    """
    cells = cells_of(objects.boxes, anchors)
    places = cells[:, None] * per_cell + torch.arange(per_cell, device=cells.device)
    return _placed(anchors, objects, places)


def match_shapes(anchors: Tensor, objects: Objects, per_cell: int) -> tuple[Tensor, Tensor]:
    """The box of its cell means an object whose shape fits it best (Redmon & Farhadi 2016, the authors' code).

    Arguments and result as of `match_cells`; of several objects with one box, it means the one listed first.
    """
    shapes = anchors[:per_cell, 2:] - anchors[:per_cell, :2]
    best = shape_iou(objects.boxes[:, 2:] - objects.boxes[:, :2], shapes).argmax(dim=1)
    return _placed(anchors, objects, (cells_of(objects.boxes, anchors) * per_cell + best)[:, None])


def _placed(anchors: Tensor, objects: Objects, places: Tensor) -> tuple[Tensor, Tensor]:
    """Let the anchors `places` [M, n] mean each of M objects, the first listed where several claim one."""
    number = len(objects.boxes)
    order = torch.arange(number, device=anchors.device)[:, None].expand_as(places)
    nobody = torch.full((len(anchors),), number, device=anchors.device)
    matched = nobody.scatter_reduce(0, places.flatten(), order.flatten(), "amin")
    labels = torch.cat([objects.labels + 1, objects.labels.new_zeros(1)])
    classes = labels[matched]
    if len(objects.crowds):
        in_crowd = (share_inside(anchors, objects.crowds) >= CROWD_SHARE).any(dim=1)
        classes = classes.masked_fill(in_crowd & (classes == 0), -1)
    return classes, matched.masked_fill(matched == number, 0)
