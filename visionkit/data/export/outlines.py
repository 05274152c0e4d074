"""Outlines of masks as polygons along the edges of pixels."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from visionkit.structures import Rle

Points = NDArray[np.int64]
"""Corners of a polygon, int64 [P, 2], x and y in pixels."""


class Outline(NamedTuple):
    """Polygons around the parts of a mask, and around its holes."""

    parts: list[Points]
    holes: list[Points]


def outline(mask: Rle) -> Outline:
    """Return the polygons around a mask, whose corners are corners of pixels.

    A mask without holes is exactly what pycocotools makes of its polygons.

    Example:
        >>> import numpy as np
        >>> from pycocotools import mask as rle
        >>> from visionkit.data.export.outlines import outline
        >>> pixels = np.zeros((6, 8), np.uint8, order="F")
        >>> pixels[1:3, 2:7] = 1
        >>> sorted(outline(rle.encode(pixels)).parts[0].tolist())
        [[2, 1], [2, 3], [7, 1], [7, 3]]
    """
    left, top, width, height = map(int, rle.toBbox(mask))
    pixels = rle.decode(mask)[top : top + height, left : left + width]
    if not pixels.size:
        return Outline([], [])
    # findContours returns centers of pixels. In twice the size, these tell on which side of a pixel the edge is.
    contours, hierarchy = cv2.findContours(
        np.kron(pixels, np.ones((2, 2), np.uint8)), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE
    )
    found = Outline([], [])
    for contour, relations in zip(contours, hierarchy[0], strict=True):
        is_hole = relations[3] >= 0
        corners = (contour[:, 0].astype(np.int64) + 1) // 2 + (left, top)
        (found.holes if is_hole else found.parts).append(_without_repeats(corners))
    return found


def join_parts(parts: Sequence[Points]) -> Points:
    """Return one polygon of several, which are joined by lines of no width between their nearest corners."""
    joined = parts[0]
    for part in parts[1:]:
        squares = ((joined[:, None] - part[None]) ** 2).sum(axis=-1)
        start, end = np.unravel_index(squares.argmin(), squares.shape)
        joined = np.concatenate([joined[: start + 1], part[end:], part[: end + 1], joined[start:]])
    return joined


def mask_box(mask: Rle) -> NDArray[np.float64]:
    """Return the box around a mask, float64 [4], xyxy."""
    x, y, width, height = rle.toBbox(mask)
    return np.array([x, y, x + width, y + height])


def is_box(mask: Rle, box: NDArray[np.floating[Any]]) -> bool:
    """Return whether a mask is what pycocotools makes of a box, xyxy."""
    x1, y1, x2, y2 = map(float, box)
    size = mask["size"]
    return bool(rle.iou([mask], rle.frPyObjects([[x1, y1, x2, y1, x2, y2, x1, y2]], *size), [False])[0, 0] == 1)


def _without_repeats(corners: Points) -> Points:
    """Return the corners without those that repeat the one before."""
    return corners[(corners != np.roll(corners, 1, axis=0)).any(axis=1)]
