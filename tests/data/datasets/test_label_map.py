"""Label maps of TensorFlow."""

import time

import pytest

from visionkit.data.datasets.label_map import read_label_map
from visionkit.errors import DataError


def names(text, folder):
    (folder / "labelmap.pbtxt").write_text(text)
    return read_label_map(folder / "labelmap.pbtxt")


def test_names_are_in_the_order_of_the_ids(tmp_path):
    text = """# made by hand
    item { id: 3
           name: "traffic light", display_name: 'light' }
    item: {name:'a#b' id:1}
    item {
      name: 'cat'
      id: 2
    }"""
    assert names(text, tmp_path) == ["a#b", "cat", "traffic light"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no items"),
        ("item { id: 1 name: 'a' }\nitems { }", r"line 2: expected item \{ id: 1 name: 'cat' \}, not 'items \{ \}'"),
        ("item { id: 1 name: 'a' ", "expected item"),
        ("item { id: 1 }", "item 1 needs a name"),
        ("item { name: 'a' }", "item 1 needs a name and an id"),
        ("item { id: -1 name: 'a' }", "an id that is a positive integer"),
        ("item { id: 1 name 'a' }", "item 1: expected name: 'value', not \"name 'a'\""),
        ("item { id: 1 name: 'a' } item { id: 1 name: 'b' }", "the id of 'b' occurs twice"),
        ("item { id: 1 name: 'a' } item { id: 2 name: 'a' }", "the name of 'a' occurs twice"),
    ],
)
def test_other_files_are_refused(text, said, tmp_path):
    with pytest.raises(DataError, match=said):
        names(text, tmp_path)


@pytest.mark.parametrize("text", ["\n" * 200_000, "item" + " " * 200_000, "item {" + " " * 200_000, "#" * 200_000])
def test_long_files_take_no_time(text, tmp_path):
    start = time.process_time()
    with pytest.raises(DataError):
        names(text, tmp_path)
    assert time.process_time() - start < 1
