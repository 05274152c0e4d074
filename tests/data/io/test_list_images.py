import pytest

from visionkit.data.io.list_images import find_images
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
