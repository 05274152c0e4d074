"""Files that name the classes and images of a YOLO dataset."""

import pytest

from visionkit.data.datasets.yolo_description import read_description
from visionkit.errors import DataError


def describe(text, folder, name="data.yaml"):
    (folder / name).write_text(text)
    return read_description(folder / name)


def test_names_as_list_and_as_mapping(tmp_path):
    assert describe("names: [cat, 7]", tmp_path).class_names == ["cat", "7"]
    assert describe("names: {1: dog, 0: cat}", tmp_path).class_names == ["cat", "dog"]


def test_images_of_the_splits(tmp_path):
    text = "path: /far/away\ntrain: [a, b.txt]\nvalid: c \ntest:\nnames: [cat]\n"
    assert describe(text, tmp_path).images == {"train": ["/far/away/a", "/far/away/b.txt"], "val": ["/far/away/c"]}


def test_keypoints_are_known_from_their_shape(tmp_path):
    assert not describe("names: [cat]", tmp_path).keypoints
    assert describe("kpt_shape: [3, 2]\nnames: [cat]", tmp_path).keypoints


def test_darknet(tmp_path):
    (tmp_path / "obj.names").write_text("cat\ndog\n\n")
    found = describe("classes = 2\ntrain=data/train.txt\nvalid = v.txt\nnames = x/obj.names", tmp_path, "obj.data")
    assert found == (["cat", "dog"], {"train": ["data/train.txt"], "val": ["v.txt"]}, False)


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("nc: 2", "data.yaml", "has no names of classes"),
        ("names: []", "data.yaml", "has no names of classes"),
        ("names: {0: a, 2: b}", "data.yaml", "must be 0 to 1"),
        ("nc: 3\nnames: [a, b]", "data.yaml", "nc is 3, but names has 2"),
        ("train: 5\nnames: [a]", "data.yaml", "is not the path of images"),
        ("- a", "data.yaml", "must hold `key: value` lines"),
        ("names: !!python/name:os.system [a]", "data.yaml", "the tag"),
        ("train = a.txt", "obj.data", "has no line `names"),
        ("names = gone.names", "obj.data", "does not exist"),
        ("\n", "obj.names", "has no names of classes"),
    ],
)
def test_files_without_usable_names_are_refused(text, name, said, tmp_path):
    with pytest.raises(DataError, match=said):
        describe(text, tmp_path, name)
