"""Views of an image at test time: other scales and mirror images."""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from torch import Tensor

from visionkit.ops.boxes import mirrored
from visionkit.option_checks import check_above, check_not_empty


class View(NamedTuple):
    """Scaled or mirrored version of an image at test time.

    Attributes:
        factor: factor on the size that preprocessing gives.
        flipped: whether the image is mirrored left to right.
    """

    factor: float = 1.0
    flipped: bool = False

    def image(self, image: Tensor) -> Tensor:
        """Return an image or map [..., H, W] mirrored if `flipped`. The function is its own inverse."""
        return image.flip(-1) if self.flipped else image

    def boxes(self, boxes: Tensor, width: int) -> Tensor:
        """Return boxes [N, 4] of an image of `width` pixels in this view. The function is its own inverse."""
        return mirrored(boxes, width) if self.flipped else boxes


def tta_views(scales: Sequence[float], flip: bool) -> list[View]:
    """Return a view for each scale, each followed by its mirror image if `flip` is true."""
    return [View(factor, flipped) for factor, flipped in product(scales, [False, True] if flip else [False])]


def check_scales(scales: Sequence[float]) -> None:
    """Raise ConfigError if there are no scales or if a scale is not above 0."""
    check_not_empty(tta_scales=scales)
    check_above(0, tta_scales=scales)
