"""Ellipses and rotated boxes become polygons; numbers are checked."""

import math

import numpy as np
import pytest

from visionkit.data.datasets.found_objects import box_of
from visionkit.data.datasets.outlines import ellipse, finite, polygon, rotated_box
from visionkit.errors import DataError


def test_the_polygon_of_an_ellipse_has_its_box_and_area():
    points = np.array(ellipse(100, 50, 40, 20)).reshape(-1, 2)
    assert box_of([points.ravel().tolist()]) == pytest.approx((60, 30, 140, 70))
    x, y = points.T
    area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    assert area == pytest.approx(math.pi * 40 * 20, rel=0.002)


def test_rotations_are_clockwise_in_an_image():
    down = ellipse(0, 0, 10, 1, math.pi / 6)[:2]  # the end of the long axis, which pointed to the right
    assert down == pytest.approx([10 * math.cos(math.pi / 6), 5])
    assert rotated_box((0, 0, 4, 2), math.pi / 2) == pytest.approx([3, -1, 3, 3, 1, 3, 1, -1])


def test_finite_numbers_become_floats():
    assert [type(value) for value in finite([1, 2.5, -3], "x")] == [float] * 3
    assert finite([], "x") == []


@pytest.mark.parametrize("value", [None, True, "1", math.nan, math.inf, 1e18, 10**400, [1]])
def test_other_values_are_refused_with_their_place(value):
    with pytest.raises(DataError, match=r"a\.json shape 3 has the coordinates .*; they must be finite numbers"):
        finite([1.0, value], "a.json shape 3")


def test_polygons_have_three_points():
    assert polygon([0, 0, 1, 0, 1, 1], "x") == [0, 0, 1, 0, 1, 1]
    for numbers in ([], [0, 0, 1, 0], [0, 0, 1, 0, 1, 1, 2]):
        with pytest.raises(DataError, match=r"x is a polygon of .* points; at least 3 are needed"):
            polygon(numbers, "x")
