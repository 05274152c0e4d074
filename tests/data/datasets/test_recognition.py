"""What formats are told about a folder."""

import time
from pathlib import Path

import pytest

from visionkit.data.datasets.recognition import FolderListing, by_split, in_order, parent_of, split_of
from visionkit.errors import DataError


@pytest.fixture
def listing(tmp_path):
    for name in ("a.jpg", "deep/er/b.PNG", "deep/er/c.jpg", "deep/notes.txt", ".hidden/d.jpg", "__MACOSX/e.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to(tmp_path / "deep")
    return FolderListing(tmp_path)


def test_files_are_listed_once_without_hidden_ones_and_links(listing):
    assert listing.files == ["a.jpg", "deep/er/b.PNG", "deep/er/c.jpg", "deep/notes.txt"]
    assert listing.images == ["a.jpg", "deep/er/b.PNG", "deep/er/c.jpg"]
    assert listing.image_folders == {"": 1, "deep/er": 2}
    assert listing.suffixes == {".jpg": 2, ".png": 1, ".txt": 1}
    assert listing.with_suffix(".txt", ".png") == ["deep/notes.txt", "deep/er/b.PNG"]
    assert "a.jpg" in listing
    assert "b.jpg" not in listing


@pytest.mark.parametrize(
    ("names", "folders"),
    [
        (["a.jpg"], [""]),
        (["c.jpg", "b.PNG"], ["deep/er"]),
        (["er/c.jpg"], ["deep"]),
        (["\\er\\c.jpg"], ["deep"]),
        (["r/c.jpg"], []),
        (["a.jpg", "c.jpg"], []),
    ],
)
def test_folders_that_have_all_files(names, folders, listing):
    assert listing.folders_with(names) == folders


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("visionkit.data.datasets.recognition.MAX_FILES", 2)
    for index in range(3):
        (tmp_path / f"{index}.jpg").touch()
    with pytest.raises(DataError, match="more than 2 files"):
        FolderListing(tmp_path)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("Training/a", "train"),
        ("instances_val2017.json", "val"),
        ("valid", "val"),
        ("validate/images", "val"),
        ("images/test", "test"),
        ("test/train", "train"),
        ("valley.json", None),
        ("trainval", None),
        ("", None),
    ],
)
def test_the_split_is_told_by_words(name, split):
    assert split_of(name) == split


def test_names_by_split():
    assert by_split(["val/a", "b", "train/c"]) == {"train": ["b", "train/c"], "val": ["val/a"]}
    assert list(in_order({"test": 1, "train": 2})) == ["train", "test"]
    assert (parent_of("a/b/c"), parent_of("c")) == ("a/b", "")


def test_a_whole_file_system_is_not_searched():
    with pytest.raises(DataError, match="is a whole file system; give the folder of the images"):
        FolderListing(Path(Path.cwd().anchor))


def test_many_files_are_searched_by_name(tmp_path):
    """Each search for the files of an annotation file looks only at files of the first one's name."""
    for folder in ("a", "a/b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.jpg").touch()
    listing = FolderListing(tmp_path)
    listing.files += [f"deep/{number}.jpg" for number in range(200_000)]
    start = time.process_time()
    for _ in range(200):
        assert listing.folders_with(["x.jpg"]) == ["a", "a/b"]
        assert listing.folders_with(["b/x.jpg"]) == ["a"]
        assert listing.folders_with(["missing.jpg"]) == []
    assert time.process_time() - start < 5
