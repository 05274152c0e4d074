"""Shapes of CVAT's XML files."""

from xml.etree.ElementTree import fromstring

import numpy as np
import pytest
from pycocotools import mask as rle

from visionkit.data.datasets.cvat_shapes import read_shape
from visionkit.errors import DataError

SIZE = (6, 8)


def read(text, rotated_boxes="raise"):
    return read_shape(fromstring(text), SIZE, "a.xml image 'a' shape 0", rotated_boxes)


def test_boxes_polygons_and_ellipses():
    assert read('<box xtl="1.5" ytl="2" xbr="4" ybr="5" rotation="0.0"/>') == ((1.5, 2, 4, 5), (), ())
    outline = read('<polygon points="1.00,2.50;5,2;3,4"/>')
    assert (outline.box, outline.polygons) == ((1, 2, 5, 4), [[1, 2.5, 5, 2, 3, 4]])
    assert read('<ellipse cx="4" cy="3" rx="2" ry="1"/>').box == pytest.approx((2, 2, 6, 4))
    assert read('<ellipse cx="4" cy="3" rx="2" ry="1" rotation="90"/>').box == pytest.approx((3, 1, 5, 5))


def test_rotated_boxes_are_refused_or_become_their_hull():
    text = '<box xtl="2" ytl="2" xbr="6" ybr="4" rotation="90.00"/>'
    with pytest.raises(DataError, match=r"a\.xml image 'a' shape 0 is a box with rotation 90\.00; set rotated_boxes"):
        read(text)
    shape = read(text, "hull")
    assert shape.box == pytest.approx((3, 1, 5, 5))
    assert shape.polygons[0] == pytest.approx([5, 1, 5, 5, 3, 5, 3, 1])


@pytest.mark.parametrize(
    ("runs", "corner", "rows"),
    [
        ("1, 2, 3", (1, 2), ["011", "000"]),
        ("0,6", (4, 5), ["111", "111"]),
        ("0, 1, 4, 1", (0, 0), ["100", "001"]),
        ("0, 2, 1, 3, 0", (0, 5), ["110", "111"]),
    ],
)
def test_run_lengths_go_row_by_row_over_the_box(runs, corner, rows):
    top, left = corner
    shape = read(f'<mask rle="{runs}" left="{left}" top="{top}" width="3" height="2"/>')
    expected = np.zeros(SIZE, np.uint8)
    expected[top : top + 2, left : left + 3] = [list(map(int, row)) for row in rows]
    code = rle.frPyObjects({"size": list(SIZE), "counts": list(shape.runs)}, *SIZE)
    assert rle.decode(code).tolist() == expected.tolist()
    assert shape.box == (left, top, left + 3, top + 2)


def test_random_masks_are_decoded():
    random = np.random.default_rng(0)
    for _ in range(50):
        mask = random.random((4, 5)) < 0.5
        flat = np.r_[False, mask.ravel(), ~mask.ravel()[-1]]
        runs = np.diff(np.r_[0, np.flatnonzero(flat[1:] != flat[:-1])])
        text = ", ".join(map(str, runs))
        shape = read(f'<mask rle="{text}" left="2" top="1" width="5" height="4"/>')
        expected = np.zeros(SIZE, bool)
        expected[1:5, 2:7] = mask
        code = rle.frPyObjects({"size": list(SIZE), "counts": list(shape.runs)}, *SIZE)
        assert np.array_equal(rle.decode(code), expected)


def test_a_mask_without_pixels_is_a_box_without_area():
    assert read('<mask rle="6" left="2" top="1" width="3" height="2"/>') == ((2, 1, 2, 1), (), ())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('<box ytl="2" xbr="4" ybr="5"/>', "has no xtl"),
        ('<box xtl="left" ytl="2" xbr="4" ybr="5"/>', "has the coordinates .*; they must be numbers"),
        ('<box xtl="nan" ytl="2" xbr="4" ybr="5"/>', "they must be finite numbers"),
        ('<box xtl="1" ytl="2" xbr="4" ybr="5" rotation="inf"/>', "they must be finite numbers"),
        ('<polygon points="1,2;3,4"/>', "is a polygon of 2 points"),
        ('<polygon points="1,2;3,4;5"/>', "has the points '1,2;3,4;5'"),
        ('<polygon points="1,2;3,4;5,1e300"/>', "finite"),
        ('<mask rle="1,2" left="0" top="0" width="3" height="2"/>', "has run lengths of 3 pixels; its box has 6"),
        ('<mask rle="1,-2,7" left="0" top="0" width="3" height="2"/>', "has the rle"),
        ('<mask rle="9999999999999999999999" left="0" top="0" width="3" height="2"/>', "has the rle"),
        ('<mask rle="" left="0" top="0" width="3" height="2"/>', "has the rle ''"),
        ('<mask rle="0,6" left="6" top="0" width="3" height="2"/>', "inside the image of 6 x 8 pixels"),
        ('<mask rle="0,6" left="0.5" top="0" width="3" height="2"/>', "must be of integers"),
        ('<mask rle="0" left="0" top="0" width="0" height="2"/>', "inside the image"),
    ],
)
def test_malformed_shapes_are_refused_with_their_place(text, said):
    with pytest.raises(DataError, match=rf"a\.xml image 'a' shape 0 .*{said}"):
        read(text)
