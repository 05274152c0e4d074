"""Lines of YOLO's label files."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from visionkit.data.datasets.yolo_labels import read_labels
from visionkit.errors import DataError

SIZE = (48, 64)
SHARES = st.floats(0, 1, width=32)


def read(text, folder, **options):
    path = folder / "a.txt"
    path.write_text(text)
    return read_labels(path, SIZE, **options)


def test_a_box_and_a_polygon(tmp_path):
    objects, repeated = read("3 0.5 0.5 0.25 0.5\n\n1 0.25 0.25 0.75 0.25 0.75 0.75\n", tmp_path)
    assert [(found.label, found.box, found.line) for found in objects] == [
        (3, (24, 12, 40, 36), 1),
        (1, (16, 12, 48, 36), 3),
    ]
    assert [found.polygons for found in objects] == [[], [[16, 12, 48, 12, 48, 36]]]
    assert repeated == 0


def test_repeated_lines_are_counted(tmp_path):
    objects, repeated = read("0 0.5 0.5 0.1 0.1\n" * 3, tmp_path)
    assert (len(objects), repeated) == (1, 2)


def test_keypoints_are_left_out(tmp_path):
    objects, _ = read("0 0.5 0.5 0.25 0.5 0.1 0.2 2 0.3 0.4 0", tmp_path, keypoints=True)
    assert (objects[0].box, objects[0].polygons) == ((24, 12, 40, 36), [])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0 0.5 0.5 0.1", "line 1 has 4 numbers"),
        ("\n0 0.5 0.5 0.1 0.1 0.9", "line 2 has 6 numbers.*\n.*a prediction with its score"),
        ("-1 0.5 0.5 0.1 0.1", "the class -1 is not the index"),
        ("0.5 0.5 0.5 0.1 0.1", r"the class 0\.5 is not the index"),
        ("nan 0.5 0.5 0.1 0.1", "the class nan is not the index"),
        ("inf 0.5 0.5 0.1 0.1", "the class inf is not the index"),
        ("0 nan 0.5 0.1 0.1", "NaN"),
        ("0 0.5 0.5 320 0.1", "the coordinate 320 is not a share"),
        ("0 a b c d", "are not numbers"),
    ],
)
def test_other_lines_are_refused_with_their_number(text, said, tmp_path):
    with pytest.raises(DataError, match=said):
        read(text, tmp_path)


@given(st.lists(st.tuples(st.integers(0, 9), st.lists(SHARES, min_size=4, max_size=4)), max_size=5, unique_by=repr))
def test_boxes_are_those_of_the_formula(rows):
    with tempfile.TemporaryDirectory() as folder:
        text = "\n".join(" ".join(map(str, [label, *shares])) for label, shares in rows)
        objects, repeated = read(text, Path(folder))
    assert len(objects) + repeated == len(rows)
    for found in objects:
        label, (x, y, width, height) = rows[found.line - 1]
        assert found.label == label
        x1, y1, x2, y2 = found.box
        assert (x1 + x2) / 2 == pytest.approx(64 * x, abs=1e-9)
        assert (y1 + y2) / 2 == pytest.approx(48 * y, abs=1e-9)
        assert (x2 - x1, y2 - y1) == pytest.approx((64 * width, 48 * height), abs=1e-9)


@given(st.text(alphabet="0123456789.-e naif\n", max_size=60))
def test_any_text_gives_objects_or_an_error(text):
    with tempfile.TemporaryDirectory() as folder:
        try:
            objects, _ = read(text, Path(folder))
        except DataError:
            return
    assert all(found.label >= 0 for found in objects)
