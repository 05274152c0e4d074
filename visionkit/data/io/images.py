"""Reading images from disk, the same way in training, evaluation and prediction."""

import io
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from visionkit.data.io.jpeg_header import is_plain_jpeg
from visionkit.errors import DataError

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"}
ORIENTATION_TAG = 0x0112
SIXTEEN_BIT_MODES = {"I", "I;16", "I;16B", "I;16L", "I;16N"}

UNREADABLE = (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""Exceptions of Pillow for files that are broken, are not images, or are extremely large."""

ImageArray = NDArray[np.uint8]


def read_image(path: Path) -> ImageArray:
    """Return an image file as an RGB array.

    The EXIF orientation is applied. Gray images get three equal channels. 16-bit values are divided by 257 (65535
    becomes 255). Transparent pixels are blended with white. Palette, 1-bit and CMYK images are converted to RGB.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        DataError: the file does not exist, is not an image, or is truncated.

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
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"the image {path} does not exist") from error
    except OSError as error:
        raise unreadable(path, error) from error
    return decode_image(data, path)


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
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return pil_to_rgb(ImageOps.exif_transpose(image))
    except UNREADABLE as error:
        raise unreadable(name, error if data else "the file is empty") from error


def to_tensor(image: ImageArray) -> Tensor:
    """Return a uint8 array [H, W, 3] as a uint8 tensor [3, H, W]."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def image_size(path: Path) -> tuple[int, int]:
    """Return (height, width) in pixels after EXIF rotation, from the file's header.

    Raises:
        DataError: the file does not exist, or is not an image.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            is_rotated = image.getexif().get(ORIENTATION_TAG, 1) >= 5
    except FileNotFoundError as error:
        raise DataError(f"the image {path} does not exist") from error
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    return (width, height) if is_rotated else (height, width)


def unreadable(name: object, reason: object) -> DataError:
    """Return the error to raise for an unreadable image."""
    if isinstance(reason, UnidentifiedImageError):  # Pillow's message would name a buffer in memory
        reason = "unknown image format"
    return DataError(f"the image {name} cannot be read: {(str(reason).splitlines() or [''])[0][:160]}")


def pil_to_rgb(image: Image.Image) -> ImageArray:
    """Return a decoded image of any mode as an RGB array, uint8 [H, W, 3]; see `read_image` for the conversions."""
    if image.mode in SIXTEEN_BIT_MODES:
        values = np.asarray(image).astype(np.int64)
        gray = np.clip(values // 257 if values.max(initial=0) > 255 else values, 0, 255).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2)
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        with_alpha = image.convert("RGBA")
        background = Image.new("RGBA", with_alpha.size, "white")
        image = Image.alpha_composite(background, with_alpha)
    return np.array(image.convert("RGB"))


def _decode_jpeg(data: bytes) -> ImageArray | None:
    """Return a JPEG decoded by OpenCV, which takes two thirds of Pillow's time; None if OpenCV fails."""
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    return None if decoded is None else np.asarray(decoded, np.uint8)
