"""Label files of YOLO: one line per object, in shares of the image's width and height."""

import math
from pathlib import Path
from typing import NamedTuple

from visionkit.data.datasets.found_objects import Box, Polygon, box_of
from visionkit.data.io.paths import read_text
from visionkit.errors import DataError
from visionkit.text import shorten

LARGEST_SHARE = 2.0
"""Shares of a width or height beyond this are no rounding errors or cut objects, but probably pixels."""

BOX_NUMBERS, MIN_POLYGON_NUMBERS = 4, 6


class YoloObject(NamedTuple):
    """A line of a label file: index of the class, box x1, y1, x2, y2 in pixels, polygons, and the line's number."""

    label: int
    box: Box
    polygons: list[Polygon]
    line: int


def read_labels(path: Path, size: tuple[int, int], keypoints: bool = False) -> tuple[list[YoloObject], int]:
    """Return the objects of a label file, and the number of lines that repeat another one.

    A line has the index of the class and either the center, width and height of a box, or the points of a polygon, as
    shares of the width and height of the image.

    Args:
        path: the file; an empty one is that of an image without objects.
        size: (height, width) of the image in pixels.
        keypoints: whether keypoints follow each box. They are not read.

    Raises:
        DataError: a line is not of this form; the message has its number.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from visionkit.data.datasets.yolo_labels import read_labels
        >>> path = Path(tempfile.mkdtemp()) / "a.txt"
        >>> _ = path.write_text("0 0.5 0.5 0.25 0.5")
        >>> read_labels(path, (48, 64))[0][0].box
        (24.0, 12.0, 40.0, 36.0)
    """
    objects: dict[tuple[float, ...], YoloObject] = {}
    repeated = 0
    for line, text in enumerate(read_text(path).splitlines(), start=1):
        words = text.split()
        if words:
            numbers = _numbers(words, f"{path} line {line}")
            repeated += numbers in objects
            objects.setdefault(numbers, _object(numbers, size, keypoints, line, f"{path} line {line}"))
    return list(objects.values()), repeated


def _numbers(words: list[str], place: str) -> tuple[float, ...]:
    try:
        numbers = tuple(map(float, words))
    except ValueError as error:
        raise DataError(f"{place}: {shorten(' '.join(words))} are not numbers") from error
    label, *shares = numbers
    if not (label >= 0 and label == int(label) if math.isfinite(label) else False):
        raise DataError(f"{place}: the class {words[0]} is not the index of a class")
    if not all(map(math.isfinite, shares)):
        raise DataError(f"{place}: NaN and infinite numbers are no coordinates")
    return numbers


def _object(numbers: tuple[float, ...], size: tuple[int, int], keypoints: bool, line: int, place: str) -> YoloObject:
    label, shares = int(numbers[0]), numbers[1:]
    if keypoints:
        shares = shares[:BOX_NUMBERS]
    is_polygon = len(shares) >= MIN_POLYGON_NUMBERS and len(shares) % 2 == 0
    if len(shares) != BOX_NUMBERS and not is_polygon:
        raise DataError(
            f"{place} has {len(numbers)} numbers; a box has 5 (class, center x and y, width, height), a polygon has 7, "
            "9, 11 ...\na line of 6 numbers is probably a prediction with its score, or has a track id"
        )
    if max(map(abs, shares)) > LARGEST_SHARE:
        raise DataError(
            f"{place}: the coordinate {max(shares, key=abs):g} is not a share of the image's width or height\n"
            "YOLO divides pixels by the width and height of the image"
        )
    height, width = size
    if is_polygon:
        polygon = [share * (height if index % 2 else width) for index, share in enumerate(shares)]
        return YoloObject(label, box_of([polygon]), [polygon], line)
    x, y, w, h = shares
    return YoloObject(label, _box(x * width, y * height, w * width, h * height), [], line)


def _box(x: float, y: float, width: float, height: float) -> Box:
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2
