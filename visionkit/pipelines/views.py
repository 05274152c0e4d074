"""Views of an image at test time: other scales and mirror images."""

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

from torch import Tensor

from visionkit.errors import ConfigError
from visionkit.ops.boxes import mirrored


class View(NamedTuple):
    """One version of an image that the model sees.

    Attributes:
        factor: factor on the size that preprocessing gives.
        flipped: whether the image is mirrored left to right.
    """

    factor: float = 1.0
    flipped: bool = False

    def image(self, image: Tensor) -> Tensor:
        """Return this view of an image or map [..., H, W] at its own size; the same function inverts it."""
        return image.flip(-1) if self.flipped else image

    def boxes(self, boxes: Tensor, width: int) -> Tensor:
        """Return boxes [N, 4] of an image `width` pixels wide in this view; the same function inverts it."""
        return mirrored(boxes, width) if self.flipped else boxes


def tta_views(scales: Sequence[float], flip: bool) -> list[View]:
    """Return a view per scale, each followed by its mirror image with `flip`."""
    return [View(factor, flipped) for factor, flipped in product(scales, [False, True] if flip else [False])]


def check_scales(scales: Sequence[float]) -> None:
    """Raise ConfigError unless `scales` are factors above 0."""
    if not scales or min(scales) <= 0:
        raise ConfigError(f"inference.tta_scales is {list(scales)}; it must contain factors above 0")
