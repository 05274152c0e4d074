"""Outlines of annotated shapes as polygons, and checks of their numbers, for formats with several kinds of shapes."""

import math
from collections.abc import Sequence
from typing import Literal

from visionkit.data.datasets.found_objects import Box, Polygon
from visionkit.data.datasets.json_entries import NUMBER
from visionkit.data.datasets.repair_boxes import LARGEST_COORDINATE
from visionkit.errors import DataError
from visionkit.text import shorten

OtherShapePolicy = Literal["raise", "skip"]
"""What to do with shapes that cover no area, such as points and lines: raise DataError, or skip and count them."""

NUM_POINTS = 64
"""Points of the polygon of an ellipse; its area is 0.2 % smaller. A multiple of 4, so that the box is exact."""

MIN_POINTS = 3


def finite(values: Sequence[object], place: str) -> list[float]:
    """Return numbers as floats.

    Args:
        values: values of a JSON file.
        place: where they stand, for the message.

    Raises:
        DataError: a value is no number, NaN, infinite or too large.
    """
    if set(map(type, values)) <= NUMBER:
        numbers: Sequence[float] = values  # type: ignore[assignment]
        if all(-LARGEST_COORDINATE < number < LARGEST_COORDINATE for number in numbers):  # False for NaN
            return list(map(float, numbers))
    raise DataError(f"{place} has the coordinates {shorten(values)}; they must be finite numbers")


def polygon(numbers: list[float], place: str) -> Polygon:
    """Return the coordinates [x, y, x, y, ...] of a polygon; raises DataError if it has fewer than three points."""
    if len(numbers) < 2 * MIN_POINTS or len(numbers) % 2:
        raise DataError(f"{place} is a polygon of {len(numbers) / 2:g} points; at least {MIN_POINTS} are needed")
    return numbers


def ellipse(x: float, y: float, radius_x: float, radius_y: float, angle: float = 0.0) -> Polygon:
    """Return an ellipse as a polygon of 64 points.

    Args:
        x: horizontal coordinate of the center in pixels.
        y: vertical coordinate of the center.
        radius_x: radius along the horizontal axis, before the rotation.
        radius_y: radius along the vertical axis, before the rotation.
        angle: clockwise rotation in radians.

    Example:
        >>> from visionkit.data.datasets.found_objects import box_of
        >>> from visionkit.data.datasets.outlines import ellipse
        >>> box_of([ellipse(10, 20, 4, 2)])
        (6.0, 18.0, 14.0, 22.0)
    """
    turns = (2 * math.pi * index / NUM_POINTS for index in range(NUM_POINTS))
    return rotated([(radius_x * math.cos(turn), radius_y * math.sin(turn)) for turn in turns], x, y, angle)


def rotated_box(box: Box, angle: float) -> Polygon:
    """Return the corners of a box that is rotated clockwise around its center by an angle in radians."""
    x1, y1, x2, y2 = box
    half_width, half_height = (x2 - x1) / 2, (y2 - y1) / 2
    corners = [(sx * half_width, sy * half_height) for sx, sy in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    return rotated(corners, (x1 + x2) / 2, (y1 + y2) / 2, angle)


def rotated(offsets: Sequence[tuple[float, float]], x: float, y: float, angle: float) -> Polygon:
    """Return the points at offsets from a center, rotated clockwise around it, as [x, y, x, y, ...]."""
    cosine, sine = math.cos(angle), math.sin(angle)
    points = ((x + dx * cosine - dy * sine, y + dx * sine + dy * cosine) for dx, dy in offsets)
    return [coordinate for point in points for coordinate in point]
