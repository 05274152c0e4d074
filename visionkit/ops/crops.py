"""Windows of an image for classification with several crops, whose predictions are averaged."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from visionkit.registry import Registry


class CropWindows(NamedTuple):
    """V windows of one image.

    Attributes:
        windows: int64 [V, 4], xyxy, pixel edges of the image.
        flipped: bool [V], True for windows that are flipped horizontally.
    """

    windows: Tensor
    flipped: Tensor


PlaceWindows = Callable[[int, int, int], Tensor]
"""Function from (height, width, crop) to windows, int64 [V, 4]."""

crop_kinds: Registry[tuple[PlaceWindows, bool]] = Registry("kind of crops")
"""Function that places the windows of each kind, and whether the kind adds a flipped copy of each window."""

GRID = 5
"""Number of positions along each side in VGG's regular grid."""


def crop_windows(height: int, width: int, crop: int, kind: str, flip: bool | None = None) -> CropWindows:
    """Return the views of an image in a published test protocol; flipped views come after all others.

    | kind | windows | views |
    |---|---|---|
    | center | center | 1 |
    | ten | four corners and center, each also flipped; AlexNet, section 4.1 | 10 |
    | grid | regular grid of 5 x 5 positions, each also flipped; VGG, section 3.2 | 50 |
    | squares | squares of the short side at both ends and in the center, each also flipped; GoogLeNet, section 7 | 6 |
    | googlenet | corners, center and whole of these squares, each also flipped; GoogLeNet, section 7 | 36 |

    For several scales, call the function once per scale with the size of the resized image.

    Args:
        height: height of the image in pixels.
        width: width of the image in pixels.
        crop: side in pixels of the network's square input; windows that are whole squares of the short side are larger.
        kind: one of the names above.
        flip: whether to add a flipped copy of each window; None follows the published protocol.

    Raises:
        ValueError: the crop is larger than the image, or below 1 pixel.
        ConfigError: the kind is unknown.
    """
    place, mirror = crop_kinds.get(kind)
    if not 1 <= crop <= min(height, width):
        raise ValueError(f"a crop of {crop} pixels does not fit an image of {height} x {width}: resize it first")
    windows = place(height, width, crop)
    flipped = torch.zeros(len(windows), dtype=torch.bool)
    if not (mirror if flip is None else flip):
        return CropWindows(windows, flipped)
    # As published, the flipped image is cropped at the same positions. In the original image, these are the mirrored
    # windows.
    mirrored = torch.stack([width - windows[:, 2], windows[:, 1], width - windows[:, 0], windows[:, 3]], dim=1)
    return CropWindows(torch.cat([windows, mirrored]), torch.cat([flipped, ~flipped]))


def extract_crops(image: Tensor, views: CropWindows, crop: int) -> Tensor:
    """Cut windows out of an image.

    Args:
        image: [C, H, W], uint8 or float.
        views: windows inside the image.
        crop: side in pixels that windows of another size are resized to (bilinear, antialiased).

    Returns:
        [V, C, crop, crop], in the dtype of the image.
    """
    seen = [image[:, y1:y2, x1:x2] for x1, y1, x2, y2 in views.windows.tolist()]
    seen = [view.flip(-1) if flip else view for view, flip in zip(seen, views.flipped.tolist(), strict=True)]
    return torch.stack([_resized(view, crop) for view in seen])


def _resized(view: Tensor, side: int) -> Tensor:
    if view.shape[-2:] == (side, side):
        return view
    return transforms.resize(view, [side, side], antialias=True)  # unlike interpolate, it supports uint8 on a GPU


def _at(top: int, left: int, side: int) -> Tensor:
    return torch.tensor([[left, top, left + side, top + side]])


def _center(height: int, width: int, crop: int) -> Tensor:
    # Python rounds halves to even, as torchvision's center_crop does.
    return _at(round((height - crop) / 2), round((width - crop) / 2), crop)


def _corners_and_center(height: int, width: int, crop: int) -> Tensor:
    corners = [_at(top, left, crop) for top in (0, height - crop) for left in (0, width - crop)]
    return torch.cat([*corners, _center(height, width, crop)])


def _grid(height: int, width: int, crop: int) -> Tensor:
    tops, lefts = (torch.linspace(0, side - crop, GRID).round().long().tolist() for side in (height, width))
    return torch.cat([_at(top, left, crop) for top in tops for left in lefts])


def _squares(height: int, width: int, crop: int) -> Tensor:
    side = min(height, width)
    return torch.cat([_at(0, 0, side), _center(height, width, side), _at(height - side, width - side, side)])


def _inside_squares(height: int, width: int, crop: int) -> Tensor:
    squares, side = _squares(height, width, crop), min(height, width)
    inside = torch.cat([_corners_and_center(side, side, crop), _at(0, 0, side)])
    return (squares[:, None, :2].repeat(1, 1, 2) + inside).flatten(0, 1)


crop_kinds.register("center")((_center, False))
crop_kinds.register("ten_crop")((_corners_and_center, True))
crop_kinds.register("grid")((_grid, True))
crop_kinds.register("squares")((_squares, True))
crop_kinds.register("googlenet")((_inside_squares, True))
