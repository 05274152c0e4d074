import os

import pytest

from visionkit.data.io.paths import find_missing, find_outside, read_text, require_existing, require_file
from visionkit.errors import DataError


@pytest.fixture
def folder(tmp_path):
    """A folder with an image, links that stay inside and links that do not."""
    inner = tmp_path / "set"
    (inner / "deep").mkdir(parents=True)
    (inner / "a.png").touch()
    (tmp_path / "secret.png").touch()
    (inner / "to_a.png").symlink_to(inner / "a.png")
    (inner / "to_secret.png").symlink_to(tmp_path / "secret.png")
    (inner / "to_outside").symlink_to(tmp_path, target_is_directory=True)
    (inner / "to_deep").symlink_to(inner / "deep", target_is_directory=True)
    return inner


@pytest.mark.parametrize(
    "name", ["a.png", "gone.png", "deep/b.png", "deep/../a.png", "to_a.png", "to_deep/b.png", "a..png", "."]
)
def test_names_that_stay(folder, name):
    assert find_outside(folder, [name]) == []


@pytest.mark.parametrize(
    "name",
    ["..", "../secret.png", "deep/../../secret.png", "/etc/passwd", "to_secret.png", "to_outside/secret.png",
     "to_outside", "deep/../..", "a\0.png", "../set2/a.png"],
)  # fmt: skip
def test_names_that_lead_out(folder, name):
    assert find_outside(folder, ["a.png", name, "deep/b.png"]) == [1]


def test_what_is_missing_is_told_by_number(folder):
    assert find_missing([folder / "a.png", folder / "gone.png", folder / "nowhere" / "a.png", folder / "deep"]) == [
        1,
        2,
    ]


def test_pipes_and_devices_are_no_annotation_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    for name in ("pipe.json", "zero.json"):
        for read in (require_file, read_text):
            with pytest.raises(DataError, match=rf"the annotation file .*{name} is not a regular file"):
                read(tmp_path / name)


def test_a_text_file_in_another_encoding_is_named(tmp_path):
    (tmp_path / "list.txt").write_bytes("café".encode("latin-1"))
    with pytest.raises(DataError, match=r"list\.txt is not a UTF-8 text file"):
        read_text(tmp_path / "list.txt")
    (tmp_path / "list.txt").write_text("café", encoding="utf-8-sig")
    assert read_text(tmp_path / "list.txt") == "café"


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "loop/a.png", "a" * 300 + "/b.png", "a" * 5000])
def test_impossible_names_are_outside_or_missing(tmp_path, name):
    (tmp_path / "loop").symlink_to("loop")
    assert find_outside(tmp_path, [name]) == [0] or find_missing([tmp_path / name]) == [0]


def test_a_file_or_folder_that_does_not_exist_is_named(folder):
    for path in (folder, folder / "a.png"):
        assert require_existing(path) == path
    for name in ("gone", "a\0", "\ud800", "a" * 300):
        with pytest.raises(DataError, match=r"the file or folder .* does not exist"):
            require_existing(folder / name)
