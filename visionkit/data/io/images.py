"""Reading images from disk, the same way in training, evaluation and prediction."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFile, ImageOps
from PIL.TiffImagePlugin import IMAGELENGTH, IMAGEWIDTH, TiffImageFile
from torch import Tensor

from visionkit.data.io.image_files import MAX_FILE_BYTES, open_encoded, open_image
from visionkit.data.io.jpeg_header import is_plain_jpeg
from visionkit.data.io.paths import read_bytes
from visionkit.errors import DataError

ORIENTATION_TAG = 0x0112
SIXTEEN_BIT_MODES = {"I", "I;16", "I;16B", "I;16L", "I;16N"}

SIXTEEN_BIT_MAX = 2**16 - 1
"""Largest value that an image or mask file can store."""

BIT_DEPTHS = (9, 16)
"""Smallest and largest number of bits that the values of an image with 16 bits may use."""

ImageArray = NDArray[np.uint8]


def read_image(path: Path, bit_depth: int | None = None) -> ImageArray:
    """Return an image file as an RGB array.

    The EXIF orientation is applied. Gray images get three equal channels. The values of gray images with 16 bits are
    divided by 257 (65535 becomes 255), whatever the largest value of an image is. Transparent pixels are blended with
    white. Palette, 1-bit and CMYK images are converted to RGB.

    Args:
        path: the file.
        bit_depth: number of bits, 9 to 16, that the values of gray images with 16 bits use. They are scaled by
            255 / (2^bit_depth - 1) and rounded down. None uses all 16. Images with 8 bits are read as without it.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        DataError: the file does not exist, is not a regular file of an allowed format (`image_files.FORMATS`), is
            truncated, or is larger than `image_files.MAX_PIXELS`; a value does not fit into `bit_depth` bits; or
            `bit_depth` is given, and Pillow scales the values of the image itself.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from visionkit.data.io.images import read_image
        >>> path = Path(tempfile.mkdtemp()) / "a.png"
        >>> Image.new("L", (8, 6)).save(path)
        >>> read_image(path).shape
        (6, 8, 3)
    """
    return decode_image(read_bytes(path, "image", MAX_FILE_BYTES), path, bit_depth)


def decode_image(data: bytes, name: object, bit_depth: int | None = None) -> ImageArray:
    """Return an encoded image as an RGB array, see `read_image`.

    Args:
        data: content of the file.
        name: name of the image, for messages.
        bit_depth: see `read_image`.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        DataError: the data is not an image, or is truncated; or `bit_depth` does not fit, see `read_image`.
    """
    decoded = _decode_jpeg(data) if is_plain_jpeg(data) else None
    if decoded is not None:
        return decoded
    with open_encoded(data, name) as image:
        if bit_depth is not None and _is_scaled_by_pillow(image):
            raise DataError(
                f"bit_depth={bit_depth} is for gray images; {name} has colors of 16 bits, or is a PGM file that states "
                "its maximum\nsave it as a gray PNG or TIFF file with 16 bits, or with 8 bits"
            )
        image.load()
        return pil_to_rgb(ImageOps.exif_transpose(image), name, bit_depth)


def to_tensor(image: ImageArray) -> Tensor:
    """Return a uint8 array [H, W, 3] as a uint8 tensor [3, H, W]."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def image_size(path: Path) -> tuple[int, int]:
    """Return (height, width) in pixels after EXIF rotation, from the file's header.

    Raises:
        DataError: the file does not exist, or is not an image.
    """
    with open_image(path) as image:
        return _size_after_rotation(image)


def encoded_size(data: bytes, name: object) -> tuple[int, int]:
    """Return (height, width) in pixels of an encoded image, see `image_size`; `name` is for messages."""
    with open_encoded(data, name) as image:
        return _size_after_rotation(image)


def _size_after_rotation(image: Image.Image) -> tuple[int, int]:
    width, height = _stored_size(image)
    is_rotated = image.getexif().get(ORIENTATION_TAG, 1) >= 5
    return (width, height) if is_rotated else (height, width)


def has_sixteen_bits(path: Path) -> bool:
    """Return whether a file is a gray image with 16 bits, from its header.

    Raises:
        DataError: the file does not exist, or is not an image.
    """
    with open_image(path) as image:
        return image.mode in SIXTEEN_BIT_MODES


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """Return (width, height) before EXIF rotation. Some versions of Pillow give the rotated size of a TIFF file."""
    if isinstance(image, TiffImageFile):
        return image.tag_v2[IMAGEWIDTH], image.tag_v2[IMAGELENGTH]
    return image.size


def pil_to_rgb(image: Image.Image, name: object, bit_depth: int | None = None) -> ImageArray:
    """Return a decoded image of any mode as an RGB array, uint8 [H, W, 3]; see `read_image` for the conversions.

    Raises:
        DataError: an image has float values, a value does not fit into `bit_depth` bits, or one of a 32-bit integer
            not into 16.
    """
    if image.mode in SIXTEEN_BIT_MODES:
        gray = _scale(np.asarray(image), name, bit_depth)
        return np.repeat(gray[..., None], 3, axis=2)
    if image.mode == "F":  # converted, values in 0..1 would become black
        raise DataError(f"the image {name} has float values, whose range is unknown; save it with 8 or 16 bits")
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        with_alpha = image.convert("RGBA")
        background = Image.new("RGBA", with_alpha.size, "white")
        image = Image.alpha_composite(background, with_alpha)
    return np.array(image.convert("RGB"))


def _scale(values: NDArray[Any], name: object, bit_depth: int | None) -> ImageArray:
    """Return gray values of `bit_depth` bits, of 16 if it is None, as values of 8 bits."""
    highest = values.max(initial=0)
    if values.min(initial=0) < 0 or highest > SIXTEEN_BIT_MAX:
        raise DataError(
            f"the image {name} has 32-bit integers from {values.min()} to {values.max()}; save it with 16 bits"
        )
    largest = SIXTEEN_BIT_MAX if bit_depth is None else 2**bit_depth - 1
    if highest > largest:
        raise DataError(
            f"the image {name} has the value {highest}, above {largest}, the largest of bit_depth={bit_depth}\n"
            f"set data.bit_depth to at least {int(highest).bit_length()}; without it, images have all 16 bits"
        )
    return (values.astype(np.uint32) * 255 // largest).astype(np.uint8)


def _is_scaled_by_pillow(image: Image.Image) -> bool:
    """Return whether Pillow scales the 16-bit values of an opened image to the range of its mode.

    It does so with colors, of which it keeps 8 bits, and with PGM and PPM files that state another maximum than 65535.
    """
    for codec, _, _, arguments in image.tile if isinstance(image, ImageFile.ImageFile) else ():
        raw_mode, *more = arguments if isinstance(arguments, tuple) else (arguments,)
        if codec == "ppm" and more[0] > 255:
            return True
        if str(raw_mode).endswith((";16B", ";16L", ";16N")) and image.mode not in SIXTEEN_BIT_MODES:
            return True
    return False


def _decode_jpeg(data: bytes) -> ImageArray | None:
    """Return a JPEG decoded by OpenCV, which takes two thirds of Pillow's time; None if OpenCV fails."""
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        return None
    return None if decoded is None else np.asarray(decoded, np.uint8)
