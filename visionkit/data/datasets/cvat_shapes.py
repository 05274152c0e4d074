"""Shapes of CVAT's XML files."""

import math
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple
from xml.etree.ElementTree import Element

import numpy as np

from visionkit.data.datasets.found_objects import Box, Polygon, box_of
from visionkit.data.datasets.outlines import ellipse, finite, polygon, rotated_box
from visionkit.errors import DataError
from visionkit.text import shorten

RotatedBoxPolicy = Literal["raise", "hull"]
"""What to do with rotated boxes: raise DataError, or take the box around each, and its rotated corners as the mask."""


class CvatShape(NamedTuple):
    """Box, polygons, and run lengths of the mask over the whole image, see `FoundObject`."""

    box: Box
    polygons: Sequence[Polygon] = ()
    runs: Sequence[int] = ()


def read_shape(node: Element, size: tuple[int, int], place: str, rotated_boxes: RotatedBoxPolicy) -> CvatShape:
    """Return a box, polygon, ellipse or mask.

    Args:
        node: the element.
        size: (height, width) of its image.
        place: where it stands, for messages.
        rotated_boxes: what to do with rotated boxes.

    Raises:
        DataError: the shape is malformed.

    Example:
        >>> from xml.etree.ElementTree import fromstring
        >>> from visionkit.data.datasets.cvat_shapes import read_shape
        >>> read_shape(fromstring('<ellipse cx="9" cy="9" rx="4" ry="2"/>'), (48, 64), "a.xml", "raise").box
        (5.0, 7.0, 13.0, 11.0)
    """
    if node.tag == "box":
        return _box(node, place, rotated_boxes)
    if node.tag == "mask":
        return _mask(node, size, place)
    outline = READERS[node.tag](node, place)
    return CvatShape(box_of([outline]), [outline])


def _box(node: Element, place: str, rotated_boxes: RotatedBoxPolicy) -> CvatShape:
    x1, y1, x2, y2 = _numbers(node, ("xtl", "ytl", "xbr", "ybr"), place)
    angle = _angle(node, place)
    if not angle:
        return CvatShape((x1, y1, x2, y2))
    if rotated_boxes == "raise":
        raise DataError(
            f"{place} is a box with rotation {node.get('rotation', '')[:40]}; set rotated_boxes: hull in the split to "
            "take the upright box around it"
        )
    corners = rotated_box((x1, y1, x2, y2), angle)
    return CvatShape(box_of([corners]), [corners])


def _polygon(node: Element, place: str) -> Polygon:
    text = _text(node, "points", place)
    pairs = [pair.split(",") for pair in text.split(";")]
    if not all(len(pair) == 2 for pair in pairs):
        raise DataError(f"{place} has the points {text[:80]!r}; they must be x,y;x,y;...")
    return polygon(_floats([value for pair in pairs for value in pair], place), place)


def _ellipse(node: Element, place: str) -> Polygon:
    x, y, radius_x, radius_y = _numbers(node, ("cx", "cy", "rx", "ry"), place)
    return ellipse(x, y, radius_x, radius_y, _angle(node, place))


READERS: dict[str, Callable[[Element, str], Polygon]] = {"polygon": _polygon, "ellipse": _ellipse}
READ = ("box", "mask", *READERS)
"""Elements that are read."""


def _mask(node: Element, size: tuple[int, int], place: str) -> CvatShape:
    """Return a mask, whose run lengths cover its box row by row, background first."""
    height, width = size
    left, top, columns, rows = _numbers(node, ("left", "top", "width", "height"), place)
    is_whole = all(value == int(value) for value in (left, top, columns, rows))
    inside = 0 <= left < left + columns <= width and 0 <= top < top + rows <= height
    if not (is_whole and inside):
        raise DataError(
            f"{place} has the box left {left:g}, top {top:g}, width {columns:g}, height {rows:g}; it must be of "
            f"integers inside the image of {height} x {width} pixels (height x width)"
        )
    runs = _integers(_text(node, "rle", place), place)
    if sum(runs) != columns * rows:
        raise DataError(f"{place} has run lengths of {sum(runs)} pixels; its box has {columns * rows:g}")
    if not any(runs[1::2]):
        return CvatShape((left, top, left, top))  # a mask without pixels: a box without area
    shape = (int(rows), int(columns))
    return CvatShape((left, top, left + columns, top + rows), (), _by_columns(runs, shape, (int(top), int(left)), size))


def _by_columns(runs: list[int], shape: tuple[int, int], corner: tuple[int, int], size: tuple[int, int]) -> list[int]:
    """Return the run lengths column by column over the whole image.

    Args:
        runs: run lengths row by row over a part of the image.
        shape: (height, width) of the part.
        corner: (top, left) of the part.
        size: (height, width) of the image.
    """
    (height, width), (top, left) = size, corner
    is_mask = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(shape)
    columns = np.zeros((shape[1], height), bool)  # the columns of the image that the part covers
    columns[:, top : top + shape[0]] = is_mask.T
    edges = np.flatnonzero(np.diff(columns.ravel(), prepend=False, append=False)) + left * height
    lengths: list[int] = np.diff(edges, prepend=0, append=height * width).tolist()
    return lengths


def _angle(node: Element, place: str) -> float:
    """Return the clockwise rotation in radians."""
    return math.radians(_floats([node.get("rotation", "0")], place)[0] % 360)


def _numbers(node: Element, keys: tuple[str, ...], place: str) -> list[float]:
    return _floats([_text(node, key, place) for key in keys], place)


def _text(node: Element, key: str, place: str) -> str:
    text = node.get(key)
    if text is None:
        raise DataError(f"{place} has no {key}")
    return text


def _floats(texts: list[str], place: str) -> list[float]:
    try:
        numbers = list(map(float, texts))
    except ValueError as error:
        raise DataError(f"{place} has the coordinates {shorten(texts)}; they must be numbers") from error
    return finite(numbers, place)


def _integers(text: str, place: str) -> list[int]:
    words = text.split(",")
    if not all(word.strip().isdecimal() and word.isascii() and len(word) < 20 for word in words):
        raise DataError(f"{place} has the rle {text[:80]!r}; it must be run lengths a, b, c, ...")
    return list(map(int, words))
