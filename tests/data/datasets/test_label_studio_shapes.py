"""Shapes of Label Studio in pixels."""

import math

import pytest

from tests.helpers.brush_code import CODE
from visionkit.data.datasets.found_objects import box_of
from visionkit.data.datasets.label_studio_shapes import read_shape
from visionkit.errors import DataError

SIZE = (40, 80)
BOX = {"x": 25, "y": 50, "width": 50, "height": 25, "rotation": 0}


def test_rectangles():
    shape = read_shape("rectanglelabels", BOX, SIZE, "here")
    assert (shape.box, shape.polygons, shape.rotation) == ((20, 20, 60, 30), [], 0)
    assert read_shape("rectanglelabels", {**BOX, "rotation": 360}, SIZE, "here").rotation == 0
    assert read_shape("rectanglelabels", {**BOX, "rotation": None}, SIZE, "here").rotation == 0


def test_rectangles_turn_clockwise_about_their_first_corner():
    shape = read_shape("rectanglelabels", {**BOX, "rotation": 90}, SIZE, "here")
    assert shape.polygons == [pytest.approx([20, 20, 20, 60, 10, 60, 10, 20])]
    assert (shape.box, shape.rotation) == (pytest.approx((10, 20, 20, 60)), 90)
    assert read_shape("rectanglelabels", {**BOX, "rotation": -90}, SIZE, "here").rotation == 270


def test_polygons():
    shape = read_shape("polygonlabels", {"points": [[25, 50], [75, 50], [75.0, 75]]}, SIZE, "here")
    assert (shape.box, shape.polygons) == ((20, 20, 60, 30), [[20, 20, 60, 20, 60, 30]])


@pytest.mark.parametrize("rotation", [0, 30, 90, 200])
def test_ellipses(rotation):
    value = {"x": 50, "y": 50, "radiusX": 25, "radiusY": 12.5, "rotation": rotation}  # 20 and 5 pixels
    shape = read_shape("ellipselabels", value, SIZE, "here")
    turn = math.radians(rotation)
    for x, y in zip(shape.polygons[0][0::2], shape.polygons[0][1::2], strict=True):
        along = (x - 40) * math.cos(turn) + (y - 20) * math.sin(turn)
        across = -(x - 40) * math.sin(turn) + (y - 20) * math.cos(turn)
        assert (along / 20) ** 2 + (across / 5) ** 2 == pytest.approx(1)
    assert shape.box == pytest.approx(box_of(shape.polygons), abs=0.05)


def test_brushes():
    shape = read_shape("brushlabels", {"rle": CODE}, (3, 5), "here")
    assert (shape.box, list(shape.runs)) == ((0, 0, 4, 2), [0, 1, 6, 1, 2, 1, 4])
    assert read_shape("brushlabels", {"rle": []}, (3, 5), "here") is None


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("rectanglelabels", {**BOX, "x": "25"}, r"here has the coordinates \['25', 50, 50, 25\]; they must be finite"),
        ("rectanglelabels", {**BOX, "width": math.nan}, r"here has the coordinates .* finite"),
        ("rectanglelabels", {**BOX, "height": 10**400}, r"here has the coordinates .* finite"),
        ("rectanglelabels", {**BOX, "y": True}, r"here has the coordinates .* finite"),
        ("rectanglelabels", {**BOX, "rotation": "3"}, r"here: the rotation has the coordinates \['3'\]"),
        ("rectanglelabels", {}, r"here has the coordinates \[None, None, None, None\]"),
        ("polygonlabels", {"points": [[1, 2], [3, 4]]}, r"here is a polygon of 2 points"),
        ("polygonlabels", {"points": [[1, 2], [3, 4], [5]]}, "here: points must be a list"),
        ("polygonlabels", {"points": [[1, 2], [3, 4], [5, None]]}, r"here has the coordinates .* finite"),
        ("polygonlabels", {}, "here: points must be a list"),
        ("ellipselabels", BOX, r"here has the coordinates .* finite"),
        ("brushlabels", {"rle": "3"}, "here: the brush has no list rle"),
    ],
)
def test_other_values_are_refused(kind, value, said):
    with pytest.raises(DataError, match=said):
        read_shape(kind, value, SIZE, "here")
