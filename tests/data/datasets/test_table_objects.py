"""Numbers in cells, and images with and without rows."""

import pytest
from PIL import Image

from visionkit.data.datasets.table_objects import parse_number, with_unlisted
from visionkit.data.io.image_index import ImageIndex
from visionkit.errors import DataError


def test_numbers():
    assert [parse_number(text, "xmin", "here") for text in ("3", " -0.5 ", "1e3")] == [3, -0.5, 1000]


@pytest.mark.parametrize("text", ["", "a", "nan", "inf", "-Infinity", "1e999", "3,5", "0x10"])
def test_other_texts_are_refused(text):
    with pytest.raises(DataError, match=r"here: xmin is '.*', not a finite number"):
        parse_number(text, "xmin", "here")


@pytest.mark.parametrize(
    ("policy", "expected"), [("skip", ["b.png", "gone.png"]), ("empty", ["b.png", "gone.png", "a.png"])]
)
def test_images_that_no_row_names(policy, expected, tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    report = {}
    assert with_unlisted(["b.png", "gone.png"], ImageIndex(tmp_path), policy, report) == expected
    assert list(report.values()) == [1]
    assert with_unlisted(["a.png", "b.png"], ImageIndex(tmp_path), policy, report) == ["a.png", "b.png"]
