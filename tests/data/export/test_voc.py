"""VOC's XML files and lists."""

from xml.etree.ElementTree import parse

import pytest

from tests.helpers.exported_image import exported, write_images


def corners(folder):
    """Return the texts of the corners of each object."""
    root = parse(folder / "Annotations" / "a.xml").getroot()
    return [[box.findtext(key) for key in ("xmin", "ymin", "xmax", "ymax")] for box in root.iter("bndbox")]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ([0, 0, 64, 48], ["1", "1", "64", "48"]),
        ([10, 20, 30, 40], ["11", "21", "30", "40"]),
        ([10.25, 20, 30.5, 40], ["11.25", "21", "30.5", "40"]),
        ([10, 20, 11, 20.5], ["11", "21", "11", "21"]),
    ],
)
def test_corners_count_from_one_and_are_inclusive(box, expected, tmp_path):
    write_images("voc", tmp_path, exported([box]))
    assert corners(tmp_path) == [expected]


def test_names_sizes_and_flags_are_written(tmp_path):
    image = exported([[1, 2, 9, 9], [3, 4, 9, 9]], [1, 0], difficult=[True, False])
    write_images("voc", tmp_path, image, names=("cat", "<dog> & co"))
    root = parse(tmp_path / "Annotations" / "a.xml").getroot()
    assert [node.findtext("name") for node in root.iter("object")] == ["<dog> & co", "cat"]
    assert [node.findtext("difficult") for node in root.iter("object")] == ["1", "0"]
    assert [root.findtext(key) for key in ("filename", "size/width", "size/height")] == ["a.jpg", "64", "48"]


def test_crowds_are_left_out(tmp_path):
    write_images("voc", tmp_path, exported([[1, 2, 9, 9], [3, 4, 9, 9]], crowd=[True, False]))
    assert corners(tmp_path) == [["4", "5", "9", "9"]]


def test_the_lists_name_the_images_of_each_split_and_the_classes(tmp_path):
    images = [exported([[1, 2, 9, 9]], split=split, name=f"{split}.jpg") for split in ("train", "val")]
    write_images("voc", tmp_path, *images)
    assert (tmp_path / "ImageSets" / "Main" / "val.txt").read_text() == "val\n"
    assert (tmp_path / "labelmap.txt").read_text().splitlines()[1:] == ["cat:::", "dog:::"]
