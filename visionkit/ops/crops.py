"""Windows that an image is looked at through when its class is averaged over several views."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from visionkit.registry import Registry


class Views(NamedTuple):
    """V windows of one image.

    Attributes:
        windows: int64 [V, 4], xyxy in pixels of the image, edges.
        flipped: bool [V], which of them are seen mirrored left to right.
    """

    windows: Tensor
    flipped: Tensor


PlaceWindows = Callable[[int, int, int], Tensor]
"""Windows int64 [V, 4] from (height, width, crop)."""

crop_kinds: Registry[tuple[PlaceWindows, bool]] = Registry("kind of crops")
"""How each kind places its windows, and whether each is seen mirrored as well."""

GRID = 5
"""Places along each side in VGG's regular grid."""


def crop_windows(height: int, width: int, crop: int, kind: str, flip: bool | None = None) -> Views:
    """The views of an image by the name of a published way of testing; mirrored ones come after all others.

    | kind | windows | views |
    |---|---|---|
    | center | the middle | 1 |
    | ten | four corners and the middle, and mirrored; AlexNet, section 4.1 | 10 |
    | grid | 5 x 5 places, evenly spread, and mirrored; VGG, section 3.2 | 50 |
    | squares | squares of the short side at both ends and in the middle, and mirrored; GoogLeNet, section 7 | 6 |
    | googlenet | of these squares the corners, the middle and the whole, and mirrored; GoogLeNet, section 7 | 36 |

    Several scales are several calls, each on the image as it was resized for that scale.

    Args:
        height: of the image in pixels.
        width: of the image in pixels.
        crop: side in pixels of the square that the network sees; whole squares of the short side are larger.
        kind: one of the names above.
        flip: whether every window is seen mirrored as well; None does as published.

    Raises:
        ValueError: the crop is larger than the image, or below 1 pixel.
        ConfigError: an unknown kind.
    """
    place, mirror = crop_kinds.get(kind)
    if not 1 <= crop <= min(height, width):
        raise ValueError(f"a crop of {crop} pixels does not fit an image of {height} x {width}: resize it first")
    windows = place(height, width, crop)
    flipped = torch.zeros(len(windows), dtype=torch.bool)
    if not (mirror if flip is None else flip):
        return Views(windows, flipped)
    # As published, the mirrored image is cut in the same places: these are the mirror images of the windows.
    mirrored = torch.stack([width - windows[:, 2], windows[:, 1], width - windows[:, 0], windows[:, 3]], dim=1)
    return Views(torch.cat([windows, mirrored]), torch.cat([flipped, ~flipped]))


def extract_crops(image: Tensor, views: Views, crop: int) -> Tensor:
    """Cut windows out of an image.

    Args:
        image: [C, H, W], uint8 or float.
        views: windows inside it.
        crop: side in pixels that windows of another size are resized to (bilinear, antialiased).

    Returns:
        [V, C, crop, crop], of the image's type.
    """
    seen = [image[:, y1:y2, x1:x2] for x1, y1, x2, y2 in views.windows.tolist()]
    seen = [view.flip(-1) if flip else view for view, flip in zip(seen, views.flipped.tolist(), strict=True)]
    return torch.stack([_resized(view, crop) for view in seen])


def _resized(view: Tensor, side: int) -> Tensor:
    if view.shape[-2:] == (side, side):
        return view
    return transforms.resize(view, [side, side], antialias=True)  # also on a GPU, where bytes are not interpolated


def _at(top: int, left: int, side: int) -> Tensor:
    return torch.tensor([[left, top, left + side, top + side]])


def _center(height: int, width: int, crop: int) -> Tensor:
    # Python rounds halves to even, and so does torchvision's center_crop.
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
crop_kinds.register("ten")((_corners_and_center, True))
crop_kinds.register("grid")((_grid, True))
crop_kinds.register("squares")((_squares, True))
crop_kinds.register("googlenet")((_inside_squares, True))
