"""Geometry of the resizing and padding of an image for a detector, and the mapping of boxes in both directions."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor

from visionkit.ops.waiting import from_host
from visionkit.registry import Registry


class Geometry(NamedTuple):
    """Geometry of the resizing and padding of one image. Each axis has its own scale.

    Attributes:
        height: height of the original image in pixels.
        width: width of the original image in pixels.
        scale_x: resized width / original width.
        scale_y: resized height / original height.
        left: columns of padding, in pixels of the model's input.
        top: rows of padding.
        right: columns of padding.
        bottom: rows of padding.
    """

    height: int
    width: int
    scale_x: float
    scale_y: float
    left: int = 0
    top: int = 0
    right: int = 0
    bottom: int = 0

    @property
    def resized(self) -> tuple[int, int]:
        """Height and width in pixels of the resized image without padding."""
        return round(self.height * self.scale_y), round(self.width * self.scale_x)

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width in pixels of the resized image with padding."""
        height, width = self.resized
        return self.top + height + self.bottom, self.left + width + self.right

    def to_input(self, boxes: Tensor) -> Tensor:
        """Return boxes [N, 4], xyxy in pixels of the original image, in pixels of the model's input."""
        return boxes * self._scales(boxes) + self._offsets(boxes)

    def to_original(self, boxes: Tensor) -> Tensor:
        """Return boxes [N, 4], xyxy in pixels of the model's input, in pixels of the original image, clipped to it."""
        bound = from_host([self.width, self.height, self.width, self.height], boxes, boxes.dtype)
        return ((boxes - self._offsets(boxes)) / self._scales(boxes)).clamp(min=0).minimum(bound)

    def _scales(self, like: Tensor) -> Tensor:
        return from_host([self.scale_x, self.scale_y, self.scale_x, self.scale_y], like)

    def _offsets(self, like: Tensor) -> Tensor:
        return from_host([self.left, self.top, self.left, self.top], like)


fits: Registry[Callable[[int, int, int, int], Geometry]] = Registry("fit")
"""Ways to resize an image of (height, width) to (new height, new width), by name."""


@fits.register("squash")
def squash(height: int, width: int, new_height: int, new_width: int) -> Geometry:
    """Return the geometry that scales each axis by itself (Liu et al. 2015, SSD)."""
    return Geometry(height, width, new_width / width, new_height / height)


@fits.register("letterbox")
def letterbox(height: int, width: int, new_height: int, new_width: int) -> Geometry:
    """Return the geometry that scales both axes alike and pads both sides (the authors' code of YOLOv2).

    The scales are those of the rounded size, so that the edges of the image are mapped back exactly.
    """
    scale = min(new_height / height, new_width / width)
    inner_height, inner_width = max(round(height * scale), 1), max(round(width * scale), 1)
    rows, columns = new_height - inner_height, new_width - inner_width
    return Geometry(
        height,
        width,
        inner_width / width,
        inner_height / height,
        left=columns // 2,
        top=rows // 2,
        right=columns - columns // 2,
        bottom=rows - rows // 2,
    )
