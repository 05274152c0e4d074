"""Opening image files with Pillow: the allowed formats, the limits, and every fault as a DataError.

No other module calls `Image.open`.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from visionkit.data.io.paths import require_regular_file
from visionkit.errors import DataError, VisionkitError

FORMATS = {
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "PPM": (".ppm", ".pgm", ".pbm"),
}
"""File name suffixes by Pillow's format. Other formats are refused: for EPS, Pillow runs Ghostscript on the file."""

SUFFIXES = {suffix for suffixes in FORMATS.values() for suffix in suffixes}

MAX_PIXELS = 178_956_970
"""Largest number of pixels of an image, as in Pillow. Its RGB values take 512 MiB."""

MAX_FILE_BYTES = 2**30
"""Largest size of an image file."""


@contextmanager
def open_image(path: Path, kind: str = "image") -> Iterator[Image.Image]:
    """Open an image file with Pillow. Only its header is read until its pixels are used.

    Args:
        path: the file.
        kind: what it is, for messages ("mask").

    Raises:
        DataError: the file is missing, no regular file, broken, too large, or not of an allowed format; also if this
            is found inside the block.
    """
    require_regular_file(path, kind, MAX_FILE_BYTES)
    with _opened(path, path, kind) as image:
        yield image


@contextmanager
def open_encoded(data: bytes, name: object) -> Iterator[Image.Image]:
    """Open the content of an image file, see `open_image`; `name` is for messages."""
    if not data:
        raise unreadable(name, "the file is empty")
    with _opened(io.BytesIO(data), name, "image") as image:
        yield image


@contextmanager
def _opened(source: Path | io.BytesIO, name: object, kind: str) -> Iterator[Image.Image]:
    try:
        with Image.open(source, formats=list(FORMATS)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(
                    f"the {kind} {name} has {image.height} x {image.width} pixels; at most {MAX_PIXELS} are read"
                )
            yield image
    except VisionkitError:
        raise
    except Exception as error:  # a broken file can raise anything, depending on its content
        raise unreadable(name, error, kind) from error


def unreadable(name: object, reason: object, kind: str = "image") -> DataError:
    """Return the error to raise for an unreadable image."""
    if isinstance(reason, UnidentifiedImageError):  # Pillow's message would name a buffer in memory
        reason = f"unknown image format; the allowed ones are {', '.join(FORMATS)}"
    text = (str(reason).splitlines() or [""])[0][:160] or type(reason).__name__
    return DataError(f"the {kind} {name} cannot be read: {text}")
