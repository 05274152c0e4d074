"""Reading images from disk, the same way in training, evaluation and prediction."""

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from visionkit.data.io.image_files import MAX_FILE_BYTES, open_encoded, open_image
from visionkit.data.io.jpeg_header import is_plain_jpeg
from visionkit.data.io.paths import read_bytes
from visionkit.errors import DataError

ORIENTATION_TAG = 0x0112
SIXTEEN_BIT_MODES = {"I", "I;16", "I;16B", "I;16L", "I;16N"}

SIXTEEN_BIT_MAX = 2**16 - 1
"""Largest value that an image or mask file can store."""

ImageArray = NDArray[np.uint8]


def read_image(path: Path) -> ImageArray:
    """Return an image file as an RGB array.

    The EXIF orientation is applied. Gray images get three equal channels. The values of gray images with 16 bits are
    divided by 257 (65535 becomes 255), whatever the largest value of an image is. Transparent pixels are blended with
    white. Palette, 1-bit and CMYK images are converted to RGB.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        DataError: the file does not exist, is not a regular file of an allowed format (`image_files.FORMATS`), is
            truncated, or is larger than `image_files.MAX_PIXELS`.

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
    return decode_image(read_bytes(path, "image", MAX_FILE_BYTES), path)


def decode_image(data: bytes, name: object) -> ImageArray:
    """Return an encoded image as an RGB array, see `read_image`.

    Args:
        data: content of the file.
        name: name of the image, for messages.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        DataError: the data is not an image, or is truncated.
    """
    decoded = _decode_jpeg(data) if is_plain_jpeg(data) else None
    if decoded is not None:
        return decoded
    with open_encoded(data, name) as image:
        image.load()
        return pil_to_rgb(ImageOps.exif_transpose(image), name)


def to_tensor(image: ImageArray) -> Tensor:
    """Return a uint8 array [H, W, 3] as a uint8 tensor [3, H, W]."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def image_size(path: Path) -> tuple[int, int]:
    """Return (height, width) in pixels after EXIF rotation, from the file's header.

    Raises:
        DataError: the file does not exist, or is not an image.
    """
    with open_image(path) as image:
        width, height = image.size
        is_rotated = image.getexif().get(ORIENTATION_TAG, 1) >= 5
    return (width, height) if is_rotated else (height, width)


def pil_to_rgb(image: Image.Image, name: object) -> ImageArray:
    """Return a decoded image of any mode as an RGB array, uint8 [H, W, 3]; see `read_image` for the conversions.

    Raises:
        DataError: an image of 32-bit integers has values that do not fit into 16 bits.
    """
    if image.mode in SIXTEEN_BIT_MODES:
        values = np.asarray(image)
        if values.min(initial=0) < 0 or values.max(initial=0) > SIXTEEN_BIT_MAX:
            raise DataError(
                f"the image {name} has 32-bit integers from {values.min()} to {values.max()}; save it with 16 bits"
            )
        return np.repeat((values // 257).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        with_alpha = image.convert("RGBA")
        background = Image.new("RGBA", with_alpha.size, "white")
        image = Image.alpha_composite(background, with_alpha)
    return np.array(image.convert("RGB"))


def _decode_jpeg(data: bytes) -> ImageArray | None:
    """Return a JPEG decoded by OpenCV, which takes two thirds of Pillow's time; None if OpenCV fails."""
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error:
        return None
    return None if decoded is None else np.asarray(decoded, np.uint8)
