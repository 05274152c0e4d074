"""Images found by the names of other machines."""

import pytest
from PIL import Image

from visionkit.data.io.image_index import ImageIndex
from visionkit.errors import DataError


@pytest.fixture
def index(tmp_path):
    def written(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4)).save(tmp_path / name, "PNG")
        return ImageIndex(tmp_path)

    return written


def test_the_base_name_is_found_at_any_depth_and_in_any_case(index):
    found = index("a.JPG", "inner/b.png")
    assert [found.find([path]) for path in (r"C:\x\a.jpg", "/far/away/b.png", "c.png", "", "/", "..")] == [
        *("a.JPG", "inner/b.png"),
        *(None,) * 4,
    ]


def test_the_first_path_that_is_found_counts(index):
    assert index("a.png", "b.png").find(["gone.png", "b.png", "a.png"]) == "b.png"


def test_of_several_the_one_with_most_common_folders_is_taken(index):
    found = index("left/1/a.png", "right/1/a.png", "a.png")
    assert [found.find([path]) for path in ("/data/right/1/a.png", "a.png")] == ["right/1/a.png", "a.png"]
    with pytest.raises(DataError, match=r"'2/a\.png' can be any of a\.png, left/1/a\.png, right/1/a\.png"):
        found.find(["2/a.png"])


def test_case_decides_between_names_that_differ_only_in_it(index):
    found = index("a.png", "A.png")
    assert (found.find(["A.png"]), found.find(["a.png"])) == ("A.png", "a.png")


def test_stems(index):
    found = index("train/a.b.png", "c.png", "c.jpg")
    assert (found.find_stem("a.b"), found.find_stem("a")) == ("train/a.b.png", None)
    with pytest.raises(DataError, match=r"'c' can be any of c\.jpg, c\.png"):
        found.find_stem("c")
