"""Shapes of Label Studio, in percent of the image's width and height, as boxes, polygons and masks in pixels."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from visionkit.data.datasets.found_objects import Box, Polygon, box_of, runs_of
from visionkit.data.datasets.label_studio_brush import decode_brush
from visionkit.data.datasets.outlines import ellipse, finite, polygon, rotated
from visionkit.errors import DataError
from visionkit.text import shorten

SMALLEST_ROTATION = 1e-3
"""Degrees below which a rectangle counts as not rotated."""


class Shape(NamedTuple):
    """A shape in pixels: its box, polygons, run lengths of its mask if it was painted, and rotation in degrees."""

    box: Box
    polygons: list[Polygon]
    runs: Sequence[int] = ()
    rotation: float = 0.0


def read_shape(kind: str, value: Mapping[str, Any], size: tuple[int, int], place: str) -> Shape | None:
    """Return the shape of a result; None for a brush that painted nothing.

    Args:
        kind: type of the result, one of `SHAPES`.
        value: its `value`.
        size: (height, width) of the image in pixels.
        place: where it stands, for messages.

    Raises:
        DataError: a number is missing or not finite, a polygon has fewer than three points, or a brush is malformed.

    Example:
        >>> from visionkit.data.datasets.label_studio_shapes import read_shape
        >>> value = {"x": 25, "y": 50, "width": 50, "height": 25, "rotation": 0}
        >>> read_shape("rectanglelabels", value, (40, 80), "task 1").box
        (20.0, 20.0, 60.0, 30.0)
    """
    return SHAPES[kind](value, size, place)


def _rectangle(value: Mapping[str, Any], size: tuple[int, int], place: str) -> Shape:
    x, y, width, height = _pixels(value, ("x", "y", "width", "height"), size, place)
    rotation = _rotation(value, place)
    if not rotation:
        return Shape((x, y, x + width, y + height), [])
    corners = rotated([(0.0, 0.0), (width, 0.0), (width, height), (0.0, height)], x, y, math.radians(rotation))
    return Shape(box_of([corners]), [corners], rotation=rotation)


def _polygon(value: Mapping[str, Any], size: tuple[int, int], place: str) -> Shape:
    points = value.get("points")
    if not isinstance(points, list) or not all(isinstance(point, list) and len(point) == 2 for point in points):
        raise DataError(f"{place}: points must be a list of [x, y], not {shorten(points)}")
    shares = finite([share for point in points for share in point], place)
    scale = size[1] / 100, size[0] / 100
    outline = polygon([share * scale[index % 2] for index, share in enumerate(shares)], place)
    return Shape(box_of([outline]), [outline])


def _ellipse(value: Mapping[str, Any], size: tuple[int, int], place: str) -> Shape:
    x, y, radius_x, radius_y = _pixels(value, ("x", "y", "radiusX", "radiusY"), size, place)
    outline = ellipse(x, y, radius_x, radius_y, math.radians(_rotation(value, place)))
    return Shape(box_of([outline]), [outline])


def _brush(value: Mapping[str, Any], size: tuple[int, int], place: str) -> Shape | None:
    codes = value.get("rle")
    if not isinstance(codes, list):
        raise DataError(f"{place}: the brush has no list rle, but {shorten(codes)}")
    mask = decode_brush(codes, size, place) if codes else np.zeros(size, bool)
    if not mask.any():
        return None
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
    return Shape(box, [], runs_of(mask))


SHAPES: dict[str, Callable[[Mapping[str, Any], tuple[int, int], str], Shape | None]] = {
    "rectanglelabels": _rectangle,
    "polygonlabels": _polygon,
    "ellipselabels": _ellipse,
    "brushlabels": _brush,
}
"""Types of results that are objects."""


def _pixels(
    value: Mapping[str, Any], keys: tuple[str, str, str, str], size: tuple[int, int], place: str
) -> tuple[float, float, float, float]:
    """Return numbers along x, y, x and y in pixels."""
    height, width = size
    x, y, along_x, along_y = finite([value.get(key) for key in keys], place)
    return x * width / 100, y * height / 100, along_x * width / 100, along_y * height / 100


def _rotation(value: Mapping[str, Any], place: str) -> float:
    """Return the clockwise rotation in degrees, 0 to 360; 0 where it is missing."""
    given = value.get("rotation")
    if given is None or given == 0:
        return 0.0
    rotation = finite([given], f"{place}: the rotation")[0] % 360
    return 0.0 if min(rotation, 360 - rotation) < SMALLEST_ROTATION else rotation
