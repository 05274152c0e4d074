"""Reading semantic mask files, and mapping their stored values to classes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from visionkit.data.io.image_files import open_image
from visionkit.data.io.images import SIXTEEN_BIT_MAX, SIXTEEN_BIT_MODES
from visionkit.errors import DataError
from visionkit.structures import Color
from visionkit.text import format_list

Mask = NDArray[np.uint8]

UNKNOWN = 254
"""Entry of the lookup tables for values without a class. Classes are below it; 255 is ignored."""

MAX_CLASSES = UNKNOWN


def read_mask(path: Path) -> NDArray[Any]:
    """Return the values that are stored in a mask file.

    Palette indices and 16-bit values are not converted. A 1-bit mask has the values 0 and 1. Pillow scales 2-bit and
    4-bit gray values to 0..255. The EXIF orientation is applied, as for images.

    Returns:
        uint8 or uint16 [H, W]; for an RGB mask its colors, uint8 [H, W, 3].

    Raises:
        DataError: the file does not exist, is not an image, is truncated, or has an unsupported mode.
    """
    with open_image(path, "mask") as opened:
        opened.load()
        return _stored_values(ImageOps.exif_transpose(opened), path)


def _stored_values(mask: Image.Image, path: Path) -> NDArray[Any]:
    """Return the values of a mask without conversion; `convert("L")` would turn palette indices into brightness."""
    values = np.array(mask)
    if mask.mode in ("L", "P", "1"):
        return values.astype(np.uint8)
    if mask.mode in SIXTEEN_BIT_MODES:
        if values.min(initial=0) < 0 or values.max(initial=0) > SIXTEEN_BIT_MAX:
            raise DataError(f"the mask {path} has values outside 0 to {SIXTEEN_BIT_MAX}")
        return values.astype(np.uint16)
    if mask.mode in ("RGB", "RGBA", "LA") and (mask.mode == "RGB" or (values[..., -1] == 255).all()):
        return values[..., 0] if mask.mode == "LA" else np.ascontiguousarray(values[..., :3])
    raise DataError(f"the mask {path} has the Pillow mode {mask.mode}; save it as gray, palette or opaque RGB")


def read_palette(path: Path) -> list[Color] | None:
    """Return the palette of a mask file; None if it has no palette.

    Raises:
        DataError: the file does not exist, or is not an image.
    """
    with open_image(path, "mask") as opened:
        palette = opened.getpalette("RGB") if opened.mode == "P" else None
    if palette is None:
        return None
    return [(red, green, blue) for red, green, blue in np.reshape(palette, (-1, 3)).tolist()]


class MaskDecoder:
    """Maps the stored values or colors of mask files to classes.

    Args:
        values: class index, or 255 for ignored pixels, by stored value in 0..65535.
        colors: class index, or 255, by RGB color; None if RGB masks are not expected. An RGB mask with three equal
            channels is then read by `values`.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from visionkit.data.io.masks import MaskDecoder
        >>> path = Path(tempfile.mkdtemp()) / "mask.png"
        >>> Image.new("L", (2, 1), 200).save(path)
        >>> MaskDecoder({200: 1}).read(path)
        array([[1, 1]], dtype=uint8)
    """

    def __init__(self, values: Mapping[int, int], colors: Mapping[Color, int] | None = None) -> None:
        self._by_value = np.full(SIXTEEN_BIT_MAX + 1, UNKNOWN, np.uint8)
        self._by_value[list(values.keys())] = list(values.values())
        self._by_color = np.full(0 if colors is None else 2**24, UNKNOWN, np.uint8)
        if colors:
            self._by_color[pack_colors(np.array(list(colors), np.uint8))] = list(colors.values())

    def read(self, path: Path) -> Mask:
        """Return the class of each pixel of a mask file, uint8 [H, W] with 255 = ignore.

        Raises:
            DataError: the file is unreadable, or has values without a class; the message lists all values.
        """
        stored = read_mask(path)
        if stored.ndim == 3 and not len(self._by_color):
            stored = _one_channel(stored, path)
        classes = self._by_color[pack_colors(stored)] if stored.ndim == 3 else self._by_value[stored]
        if (classes == UNKNOWN).any():
            raise _unknown_values(stored, classes == UNKNOWN, path)
        return classes


def pack_colors(colors: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Return RGB colors [..., 3] as integers, with red in the highest bits."""
    red, green, blue = np.moveaxis(colors.astype(np.int32), -1, 0)
    return (red << 16) | (green << 8) | blue


def _one_channel(stored: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    if not (stored == stored[..., :1]).all():
        raise DataError(f"the mask {path} is an RGB image: set the class of each color in the card (colors: ...)")
    return stored[..., 0]


def _unknown_values(stored: NDArray[Any], wrong: NDArray[np.bool_], path: Path) -> DataError:
    """Return the error to raise for a mask with values or colors that belong to no class."""
    kind = "colors" if stored.ndim == 3 else "values"

    def list_values(pixels: NDArray[Any]) -> str:
        distinct = np.unique(pixels, axis=0).tolist()
        return format_list([str(tuple(value) if stored.ndim == 3 else value) for value in distinct])

    pixels = stored.reshape(-1, *stored.shape[2:])
    return DataError(
        f"the mask {path} has the {kind} {list_values(pixels)}; "
        f"neither a class nor `ignore` has {list_values(pixels[wrong.ravel()])}"
    )
