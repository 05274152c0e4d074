"""Mask files: what is stored in them, to the last index, and which class it stands for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from visionkit.data.io.images import SIXTEEN_BIT_MODES, UNREADABLE, unreadable
from visionkit.errors import DataError
from visionkit.structures import Color
from visionkit.text import format_list

Mask = NDArray[np.uint8]

UNKNOWN = 254
"""In a table: no class has this value. Classes lie below it, 255 is for what is ignored."""

MOST_CLASSES = UNKNOWN

LARGEST_VALUE = 2**16 - 1


def read_mask(path: Path) -> NDArray[Any]:
    """Read a mask with the values that are stored in it.

    A palette's indices and 16-bit values stay as they are; a 1-bit mask has 0 and 1. Pillow spreads gray of 2 and 4
    bits over 0..255. The file's own EXIF orientation is applied, as it is to images.

    Returns:
        uint8 or uint16 [H, W], or the colors of an RGB mask, uint8 [H, W, 3].

    Raises:
        DataError: no such file, not an image, truncated, or of a kind that no mask is.
    """
    try:
        with Image.open(path) as opened:
            opened.load()
            return _stored(ImageOps.exif_transpose(opened), path)
    except FileNotFoundError as error:
        raise DataError(f"there is no mask {path}") from error
    except UNREADABLE as error:
        raise unreadable(path, error) from error


def _stored(mask: Image.Image, path: Path) -> NDArray[Any]:
    """The values of an opened mask, unconverted: `convert("L")` would turn a palette's indices into brightness."""
    values = np.array(mask)
    if mask.mode in ("L", "P", "1"):
        return values.astype(np.uint8)
    if mask.mode in SIXTEEN_BIT_MODES:
        if values.min(initial=0) < 0 or values.max(initial=0) > LARGEST_VALUE:
            raise DataError(f"the mask {path} has values outside 0 to {LARGEST_VALUE}")
        return values.astype(np.uint16)
    if mask.mode in ("RGB", "RGBA", "LA") and (mask.mode == "RGB" or (values[..., -1] == 255).all()):
        return values[..., 0] if mask.mode == "LA" else np.ascontiguousarray(values[..., :3])
    raise DataError(f"the mask {path} is of Pillow's mode {mask.mode}; save it as gray, palette or opaque RGB")


def palette_colors(path: Path) -> list[Color] | None:
    """The colors of a palette mask's indices; None where the file is of another kind.

    Raises:
        DataError: no such file, or not an image.
    """
    try:
        with Image.open(path) as opened:
            palette = opened.getpalette("RGB") if opened.mode == "P" else None
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    if palette is None:
        return None
    return [(red, green, blue) for red, green, blue in np.reshape(palette, (-1, 3)).tolist()]


class MaskCoding:
    """Which class a value, or a color, of a mask file stands for.

    Args:
        values: class index (or 255 for what is ignored) by stored value, 0..65535.
        colors: likewise by RGB; None where RGB masks are not expected. A mask whose three channels are equal is
            then read by `values`.
    """

    def __init__(self, values: Mapping[int, int], colors: Mapping[Color, int] | None = None) -> None:
        self._by_value = np.full(LARGEST_VALUE + 1, UNKNOWN, np.uint8)
        self._by_value[list(values.keys())] = list(values.values())
        self._by_color = np.full(0 if colors is None else 2**24, UNKNOWN, np.uint8)
        if colors:
            self._by_color[packed_colors(np.array(list(colors), np.uint8))] = list(colors.values())

    def read(self, path: Path) -> Mask:
        """Read a mask file; returns uint8 [H, W], class of each pixel, 255 = ignore.

        Raises:
            DataError: it cannot be read, or holds what stands for no class; the values found are named.
        """
        stored = read_mask(path)
        if stored.ndim == 3 and not len(self._by_color):
            stored = _one_channel(stored, path)
        classes = self._by_color[packed_colors(stored)] if stored.ndim == 3 else self._by_value[stored]
        if (classes == UNKNOWN).any():
            raise _unknown(stored, classes == UNKNOWN, path)
        return classes


def packed_colors(colors: NDArray[np.uint8]) -> NDArray[np.int32]:
    """RGB [..., 3] as one number each, red highest."""
    red, green, blue = np.moveaxis(colors.astype(np.int32), -1, 0)
    return (red << 16) | (green << 8) | blue


def _one_channel(stored: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    if not (stored == stored[..., :1]).all():
        raise DataError(f"the mask {path} is in colors: say in the card which class each color is (colors: ...)")
    return stored[..., 0]


def _unknown(stored: NDArray[Any], wrong: NDArray[np.bool_], path: Path) -> DataError:
    """What to raise for a mask with values that stand for no class."""
    what = "colors" if stored.ndim == 3 else "values"

    def named(pixels: NDArray[Any]) -> str:
        return format_list([str(tuple(value) if stored.ndim == 3 else value) for value in _distinct(pixels).tolist()])

    whole = stored.reshape(-1, *stored.shape[2:])
    return DataError(
        f"the mask {path} has the {what} {named(whole)}; no class or `ignore` has {named(whole[wrong.ravel()])}"
    )


def _distinct(pixels: NDArray[Any]) -> NDArray[Any]:
    return np.unique(pixels, axis=0)
