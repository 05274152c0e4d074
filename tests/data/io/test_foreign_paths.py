"""Paths of another machine are found by their longest end, and never outside of the dataset's folder."""

import time

import pytest

from visionkit.data.io.foreign_paths import find_foreign


@pytest.fixture
def folder(tmp_path):
    inner = tmp_path / "set"
    for name in ("images/train/a b#c.jpg", "images/validation/v.jpg", "train/images/r.jpg", "sub/x.jpg"):
        (inner / name).parent.mkdir(parents=True, exist_ok=True)
        (inner / name).touch()
    (tmp_path / "secret.jpg").touch()
    return inner


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("images/train/a b#c.jpg", "images/train/a b#c.jpg"),
        ("/content/drive/set/images/train", "images/train"),
        ("C:\\Users\\me\\images\\train\\a b#c.jpg", "images/train/a b#c.jpg"),
        ("..\\train\\images", "train/images"),
        ("../train/images ", "train/images"),
        ("./images/train", "images/train"),
        ("data/images/valid", "images/validation"),
        ("images/val/v.jpg", "images/validation/v.jpg"),
        ("gone.jpg", None),
        ("../secret.jpg", None),
        ("/etc/passwd", None),
        ("", None),
        ("..", None),
        (".", "."),
        (" ./", "."),
        ("a\0b", None),
    ],
)
def test_the_longest_existing_end_is_taken(path, found, folder):
    assert find_foreign(folder, path) == found


def test_long_paths_take_no_time(folder):
    start = time.process_time()
    for path in ("a/" * 10**5 + "images/val/v.jpg", "val/" * 10**5 + "v.jpg", "a" * 10**6):
        assert find_foreign(folder, path) in ("images/validation/v.jpg", None)
    assert time.process_time() - start < 1


def test_names_beside_the_annotation_file_come_first(folder):
    (folder / "x.jpg").touch()
    assert find_foreign(folder, "x.jpg", folder / "sub") == "sub/x.jpg"
    assert find_foreign(folder, "x.jpg") == "x.jpg"


def test_a_link_to_the_outside_is_not_followed(folder):
    (folder / "link.jpg").symlink_to(folder.parent / "secret.jpg")
    assert find_foreign(folder, "link.jpg") is None
