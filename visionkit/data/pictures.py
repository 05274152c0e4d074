"""Reading pictures from disk: one rule for fit, validate, test and predict."""

import io
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from visionkit.data.jpeg import is_plain_jpeg
from visionkit.errors import DataError

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif"}
ORIENTATION_TAG = 0x0112
SIXTEEN_BIT_MODES = {"I", "I;16", "I;16B", "I;16L", "I;16N"}

UNREADABLE = (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What Pillow raises on files that are broken, foreign or absurdly large."""

Picture = NDArray[np.uint8]


def read_picture(path: Path) -> Picture:
    """Read a picture as it is meant to be seen.

    The EXIF orientation is applied. Grey becomes three equal channels; 16-bit values are divided by 257 (65535 is 255);
    transparent pixels are laid over white; palette, 1-bit and CMYK pictures are converted to RGB.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        DataError: no such file, not a picture, or truncated.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"there is no picture {path}") from error
    except OSError as error:
        raise unreadable(path, error) from error
    return decode_picture(data, path)


def decode_picture(data: bytes, name: object) -> Picture:
    """Decode a picture file that is already in memory, by the rules of `read_picture`.

    Args:
        data: the whole file.
        name: what to call it in messages.

    Returns:
        uint8 [H, W, 3], RGB.

    Raises:
        DataError: not a picture, or truncated.
    """
    decoded = _decode_jpeg(data) if is_plain_jpeg(data) else None
    if decoded is not None:
        return decoded
    try:
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            return _to_rgb(ImageOps.exif_transpose(picture))
    except UNREADABLE as error:
        raise unreadable(name, error if data else "the file is empty") from error


def picture_size(path: Path) -> tuple[int, int]:
    """(height, width) in pixels after EXIF rotation, from the file's header.

    Raises:
        DataError: no such file, or not a picture.
    """
    try:
        with Image.open(path) as picture:
            width, height = picture.size
            turned = picture.getexif().get(ORIENTATION_TAG, 1) >= 5
    except FileNotFoundError as error:
        raise DataError(f"there is no picture {path}") from error
    except UNREADABLE as error:
        raise unreadable(path, error) from error
    return (width, height) if turned else (height, width)


def find_pictures(paths: Iterable[Path]) -> list[Path]:
    """The pictures that files and folders stand for; folders are searched to any depth, in order of names.

    Raises:
        DataError: a path does not exist, or nothing is a picture.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise DataError(f"there is no file or folder {path}")
        found += sorted(file for file in path.rglob("*") if _is_picture(file)) if path.is_dir() else [path]
    if not found:
        raise DataError(f"no pictures found; looked for files ending in {', '.join(sorted(SUFFIXES))}")
    return found


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and path.is_file()


def unreadable(name: object, reason: object) -> DataError:
    """What to raise for a picture that cannot be read, and why."""
    if isinstance(reason, UnidentifiedImageError):  # Pillow's own words name a buffer in memory
        reason = "it is no picture of a known format"
    return DataError(f"the picture {name} cannot be read: {(str(reason).splitlines() or [''])[0][:160]}")


def _decode_jpeg(data: bytes) -> Picture | None:
    """Decode with OpenCV, which takes two thirds of Pillow's time; None where it cannot."""
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    return None if decoded is None else np.asarray(decoded, np.uint8)


def _to_rgb(picture: Image.Image) -> Picture:
    if picture.mode in SIXTEEN_BIT_MODES:
        values = np.asarray(picture).astype(np.int64)
        grey = np.clip(values // 257 if values.max(initial=0) > 255 else values, 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if picture.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in picture.info:
        layered = picture.convert("RGBA")
        ground = Image.new("RGBA", layered.size, "white")
        picture = Image.alpha_composite(ground, layered)
    return np.array(picture.convert("RGB"))
