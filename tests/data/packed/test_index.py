"""The index of packed data: what it holds comes back, and anything else is refused."""

import json

import pytest

from visionkit.data.packed.index import PackedFile, PackedIndex, PackedSplit, Shard, read_index
from visionkit.data.packed.layout import TABLES
from visionkit.errors import DataError

DIGEST = "0" * 64
SPLIT = PackedSplit(
    3, {name: PackedFile(f"{name}.table", 8, DIGEST) for name in TABLES}, [Shard("a.bin", 90, DIGEST, 2)]
)
INDEX = PackedIndex(["cat", "dog"], [7, 3], [(1, 2, 3), (4, 5, 6)], {"train": SPLIT})


@pytest.fixture
def read(tmp_path):
    """A function that reads an index after a change of its content."""

    def change_and_read(*path, value):
        content = json.loads(INDEX.to_json())
        inner = content
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        (tmp_path / "packed.json").write_text(json.dumps(content))
        return read_index(tmp_path / "packed.json", "https://host/packed.json")

    return change_and_read


def test_an_index_comes_back(read):
    assert read("format", value="visionkit packed") == INDEX
    assert read("class_colors", value=None).class_colors is None
    assert INDEX.splits["train"].images == 2


WRONG = {
    "another file": (("format",), "yolo", "is not the index of a packed dataset\nwrite one with: visionkit data pack"),
    "a newer version": (("version",), 2, "has version 2, and this visionkit reads up to 1\nupdate visionkit"),
    "a boolean version": (("version",), True, "has version: True; it must be an integer of at least 1"),
    "no classes": (("class_names",), [], "category_ids that are not one integer"),
    "a blank class": (("class_names",), ["cat", " "], "cannot be the name of a class"),
    "too few ids": (("category_ids",), [7], "category_ids that are not one integer"),
    "the same id twice": (("category_ids",), [7, 7], "category_ids that are not one integer"),
    "half a color": (("class_colors",), [[1, 2], [3, 4]], r"not one \[red, green, blue\]"),
    "no splits": (("splits",), {}, "has no splits"),
    "a split outside": (("splits", "../train"), {}, "has the file or split name '../train'"),
    "a split that is no object": (("splits", "train"), [], "must have the tables images"),
    "a missing table": (("splits", "train", "tables"), {}, "must have the tables images"),
    "a shard outside": (("splits", "train", "shards", 0, "file"), "../a.bin", "has the file or split name '../a.bin'"),
    "an absolute shard": (("splits", "train", "shards", 0, "file"), "/etc/passwd", "has the file or split name"),
    "a hidden table": (("splits", "train", "tables", "tags", "file"), ".tags", "has the file or split name '.tags'"),
    "no digest": (("splits", "train", "shards", 0, "sha256"), "x", "has the SHA-256 digest 'x'"),
    "no shards": (("splits", "train", "shards"), [], "has a split without shards"),
    "an empty shard": (
        ("splits", "train", "shards", 0, "images"),
        0,
        "has images: 0; it must be an integer of at least 1",
    ),
    "a negative size": (("splits", "train", "shards", 0, "bytes"), -1, "has bytes: -1"),
    "a huge size": (("splits", "train", "shards", 0, "bytes"), 2**60, "has bytes"),
    "a shard that is text": (("splits", "train", "shards", 0), "a.bin", "must describe a file where it has 'a.bin'"),
}


@pytest.mark.parametrize("case", WRONG)
def test_anything_else_is_refused_with_its_address(case, read):
    path, value, message = WRONG[case]
    with pytest.raises(DataError, match=message) as caught:
        read(*path, value=value)
    assert "cannot be the name" in message or str(caught.value).startswith("https://host/packed.json ")


def test_a_shard_is_named_once(read):
    shard = json.loads(INDEX.to_json())["splits"]["train"]["shards"][0]
    with pytest.raises(DataError, match="names a shard twice"):
        read("splits", "train", "shards", value=[shard, shard])


@pytest.mark.parametrize("content", ["", "[]", "{", "[" * 100000, "\x80"])
def test_files_that_are_no_index(content, tmp_path):
    (tmp_path / "packed.json").write_text(content)
    with pytest.raises(DataError, match=r"packed.json (is not|has)"):
        read_index(tmp_path / "packed.json", tmp_path / "packed.json")
