"""Folders that appear when they are complete."""

import os

import pytest

from visionkit.data.io.atomic_folder import atomic_folder
from visionkit.errors import WriteError


def test_the_folder_appears_at_the_end(tmp_path):
    with atomic_folder(tmp_path / "deep" / "new") as folder:
        (folder / "a.txt").write_text("content")
        assert not (tmp_path / "deep" / "new").exists()
    assert (tmp_path / "deep" / "new" / "a.txt").read_text() == "content"
    assert os.listdir(tmp_path / "deep") == ["new"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_nothing_is_left_after_an_error(error, tmp_path):
    with pytest.raises(error):
        write_and_fail(tmp_path / "new", error)
    assert os.listdir(tmp_path) == []


def write_and_fail(path, error):
    with atomic_folder(path) as folder:
        (folder / "a.txt").write_text("content")
        raise error


def test_an_empty_folder_or_a_link_to_one_is_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "link").symlink_to("empty")
    with atomic_folder(tmp_path / "link") as folder:
        (folder / "a.txt").write_text("content")
    assert os.listdir(tmp_path / "empty") == ["a.txt"]


def test_what_exists_is_never_written_into(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    for name in ("full", "full/mine.txt"):
        with pytest.raises(WriteError, match="exists already"), atomic_folder(tmp_path / name):
            pytest.fail("the block runs")
    assert os.listdir(tmp_path / "full") == ["mine.txt"]


def test_a_failed_write_is_explained(tmp_path):
    with (
        pytest.raises(WriteError, match="new could not be written: No such file"),
        atomic_folder(tmp_path / "new") as folder,
    ):
        (folder / "missing" / "a.txt").write_text("content")
    assert os.listdir(tmp_path) == []
