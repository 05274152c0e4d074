"""SSD's default boxes (Liu et al. 2015, section 2.2)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator

from visionkit.models.detection.parts.anchors import CachedAnchorGenerator


class DefaultBoxes(DefaultBoxGenerator, CachedAnchorGenerator):
    """torchvision's default boxes, whose sizes are shares of the input's sides.

    Args:
        ratios: for each level the aspect ratios besides 1; each is used together with its inverse.
        scales: of each level's boxes, and one more, as shares of the input's sides.
        steps: distance of neighboring cells of each level in pixels, for inputs of `size`. With inputs of other sizes,
            and with None, the cells are spread evenly.
        size: height and width in pixels of the input that `steps` are for.

    Attributes:
        clip: whether the sides of boxes are limited to those of the input: as in torchvision, whose weights need it,
            but not in the authors' code.
    """

    def __init__(
        self,
        ratios: Sequence[Sequence[int]],
        scales: Sequence[float],
        steps: Sequence[int] | None = None,
        size: int | None = None,
    ) -> None:
        DefaultBoxGenerator.__init__(self, [list(level) for level in ratios], scales=list(scales))
        CachedAnchorGenerator.__init__(self)
        self.published_steps, self.published_size = steps, size

    def shapes(self, input_size: tuple[int, int] | None = None) -> Tensor:
        """Return width and height of every kind of box, for the published size by default; see the base class."""
        height, width = input_size or (self.published_size or 1,) * 2
        pairs = torch.cat(self._wh_pairs)
        return (pairs.clamp(max=1) if self.clip else pairs) * pairs.new_tensor([width, height])

    def generate(self, padded: tuple[int, int], maps: Sequence[Tensor]) -> list[Tensor]:
        """Return the default boxes of each level; see `CachedAnchorGenerator.generate`."""
        is_published = self.published_steps is not None and padded == (self.published_size,) * 2
        self.steps = list(self.published_steps or ()) if is_published else None
        grids = [list(level.shape[-2:]) for level in maps]
        centers, sides = self._grid_default_boxes(grids, list(padded)).to(maps[0].device).split(2, dim=1)
        corners = torch.cat([centers - sides / 2, centers + sides / 2], dim=1)
        pixels = corners * corners.new_tensor([padded[1], padded[0]] * 2)
        counts = [h * w * number for (h, w), number in zip(grids, self.num_anchors_per_location(), strict=True)]
        return list(pixels.split(counts))
