"""Outlines are exactly their masks."""

import cv2
import numpy as np
import pytest
from pycocotools import mask as rle

from tests.helpers.export_source import PAIR, RING, STAIRS, code, pixels
from visionkit.data.export.outlines import is_box, join_parts, mask_box, outline


def drawn(polygons, size):
    """Return the mask of polygons by pycocotools."""
    return rle.decode(rle.merge(rle.frPyObjects([points.ravel().astype(float).tolist() for points in polygons], *size)))


def random_masks(count, holes):
    random = np.random.default_rng(0)
    while count:
        height, width = random.integers(3, 40, 2)
        noise = cv2.GaussianBlur(random.random((height, width)), (0, 0), random.choice([0.3, 1, 3]))
        mask = (noise > 0.5).astype(np.uint8)
        if mask.any() and bool(outline(code(mask)).holes) is holes:
            count -= 1
            yield mask


def test_masks_without_holes_are_exactly_their_outlines():
    for mask in random_masks(200, holes=False):
        np.testing.assert_array_equal(drawn(outline(code(mask)).parts, mask.shape), mask)


def test_no_corner_is_on_a_straight_line():
    """So that no corner can be left out without changing the outline."""
    for mask in [*random_masks(50, holes=False), *random_masks(50, holes=True)]:
        for points in (polygon for polygons in outline(code(mask)) for polygon in polygons):
            before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
            assert (before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]).all()


def test_the_parts_of_masks_with_holes_are_the_filled_masks():
    for mask in random_masks(100, holes=True):
        contours, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        filled = cv2.drawContours(np.zeros_like(mask), contours, -1, 1, cv2.FILLED)
        np.testing.assert_array_equal(drawn(outline(code(mask)).parts, mask.shape), filled)


def test_parts_and_holes_are_counted():
    counts = [tuple(map(len, outline(code(mask)))) for mask in (STAIRS, RING, PAIR, pixels())]
    assert counts == [(1, 0), (1, 1), (2, 0), (0, 0)]


def test_joined_parts_are_the_same_mask():
    np.testing.assert_array_equal(drawn([join_parts(outline(code(PAIR)).parts)], PAIR.shape), PAIR)
    three = pixels((2, 2, 8, 8), (20, 30, 30, 40), (40, 5, 44, 44))
    np.testing.assert_array_equal(drawn([join_parts(outline(code(three)).parts)], three.shape), three)


def test_a_box_is_told_from_other_masks():
    box = np.array([4, 30, 12, 44], np.float32)
    assert is_box(code(pixels((4, 30, 12, 44))), box)
    assert not is_box(code(pixels((4, 30, 12, 43))), box)
    assert mask_box(code(pixels((4, 30, 12, 44)))) == pytest.approx(box)
