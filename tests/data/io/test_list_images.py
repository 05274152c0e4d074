from collections import Counter
from pathlib import Path

import pytest

from visionkit.data.io.list_images import find_images, image_suffixes, list_files, natural_sort_key
from visionkit.errors import DataError


def test_folders_are_searched_and_missing_paths_named(tmp_path):
    (tmp_path / "inner").mkdir()
    first, second = tmp_path / "b.png", tmp_path / "inner" / "a.PNG"
    for path in (first, second, tmp_path / "notes.txt"):
        path.touch()
    assert find_images([tmp_path]) == [first, second]
    with pytest.raises(DataError, match=r"the file or folder .*gone does not exist"):
        find_images([tmp_path / "gone"])
    with pytest.raises(DataError, match=r"no images found; the searched file types are \.bmp, \.gif, \.jpeg, "):
        find_images([_empty(tmp_path)])


def _empty(tmp_path):
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


def test_numbers_in_names_are_sorted_as_numbers():
    names = ["x10", "x9b", "x9a", "2x", "10x", "x", "x\u0662"]
    assert sorted(names, key=natural_sort_key) == ["2x", "10x", "x", "x\u0662", "x9a", "x9b", "x10"]


def test_suffixes_of_images_by_stem(tmp_path):
    for name in ("a.jpg", "a.png", "b.JPEG", "c.txt", "d.rf.0.jpg"):
        (tmp_path / name).touch()
    assert image_suffixes(tmp_path) == {"a": ".jpg", "b": ".JPEG", "d.rf.0": ".jpg"}
    assert image_suffixes(tmp_path / "gone") == {}


def test_a_name_that_no_file_can_have_is_missing():
    with pytest.raises(DataError, match="x does not exist"):
        find_images([Path("x" * 300)])


def test_files_of_a_suffix_are_found_at_any_depth(tmp_path):
    for folder in ("b", ".hidden"):
        (tmp_path / folder).mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    for name in ("c.json", "b/a.JSON", ".d.json", ".hidden/e.json", "f.txt"):
        (tmp_path / name).touch()
    counts = Counter()
    assert list_files(tmp_path, ".json", counts) == [tmp_path / "b" / "a.JSON", tmp_path / "c.json"]
    assert counts == {"hidden files and folders skipped": 2, "links to folders skipped": 1}
    assert list_files(tmp_path / "f.txt", ".json", counts) == [tmp_path / "f.txt"]
