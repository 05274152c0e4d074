"""Reading images from disk: one rule for fit, validate, test and predict."""

import io
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from visionkit.data.io.jpeg import is_plain_jpeg
from visionkit.errors import DataError

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"}
ORIENTATION_TAG = 0x0112
SIXTEEN_BIT_MODES = {"I", "I;16", "I;16B", "I;16L", "I;16N"}

UNREADABLE = (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises on files that are broken, foreign or absurdly large."""

ImageArray = NDArray[np.uint8]


def read_image(path: Path) -> ImageArray:
    """Read an image as it is meant to be seen.

    The EXIF orientation is applied. Gray becomes three equal channels; 16-bit values are divided by 257 (65535 is 255);
    transparent pixels are laid over white; palette, 1-bit and CMYK images are converted to RGB.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        DataError: no such file, not an image, or truncated.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"there is no image {path}") from error
    except OSError as error:
        raise unreadable(path, error) from error
    return decode_image(data, path)


def decode_image(data: bytes, name: object) -> ImageArray:
    """Decode an image file that is already in memory, by the rules of `read_image`.

    Args:
        data: the whole file.
        name: what to call it in messages.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        DataError: not an image, or truncated.
    """
    decoded = _decode_jpeg(data) if is_plain_jpeg(data) else None
    if decoded is not None:
        return decoded
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return _to_rgb(ImageOps.exif_transpose(image))
    except UNREADABLE as error:
        raise unreadable(name, error if data else "the file is empty") from error


def to_tensor(image: ImageArray) -> Tensor:
    """Return a uint8 array [H, W, 3] as a uint8 tensor [3, H, W]."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def image_size(path: Path) -> tuple[int, int]:
    """(height, width) in pixels after EXIF rotation, from the file's header.

    Raises:
        DataError: no such file, or not an image.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(ORIENTATION_TAG, 1) >= 5
    except FileNotFoundError as error:
        raise DataError(f"there is no image {path}") from error
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    return (width, height) if turned else (height, width)


def find_images(paths: Iterable[Path]) -> list[Path]:
    """The images that files and folders stand for; folders are searched to any depth, in order of names.

    Raises:
        DataError: a path does not exist, or nothing is an image.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise DataError(f"there is no file or folder {path}")
        found += sorted(file for file in path.rglob("*") if _is_image(file)) if path.is_dir() else [path]
    if not found:
        raise DataError(f"no images found; looked for files ending in {', '.join(sorted(SUFFIXES))}")
    return found


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def unreadable(name: object, reason: object) -> DataError:
    """What to raise for an image that cannot be read, and why."""
    if isinstance(reason, UnidentifiedImageError):  # Pillow's own words name a buffer in memory
        reason = "it is no image of a known format"
    return DataError(f"the image {name} cannot be read: {(str(reason).splitlines() or [''])[0][:160]}")


def _decode_jpeg(data: bytes) -> ImageArray | None:
    """Decode with OpenCV, which takes two thirds of Pillow's time; None where it cannot."""
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    return None if decoded is None else np.asarray(decoded, np.uint8)


def _to_rgb(image: Image.Image) -> ImageArray:
    if image.mode in SIXTEEN_BIT_MODES:
        values = np.asarray(image).astype(np.int64)
        gray = np.clip(values // 257 if values.max(initial=0) > 255 else values, 0, 255).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2)
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        layered = image.convert("RGBA")
        ground = Image.new("RGBA", layered.size, "white")
        image = Image.alpha_composite(ground, layered)
    return np.array(image.convert("RGB"))
