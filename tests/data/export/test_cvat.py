"""CVAT's XML files."""

from xml.etree.ElementTree import parse

import numpy as np

from tests.helpers.export_source import PAIR, RING, STAIRS, code
from tests.helpers.exported_image import exported, write_images


def read(folder, split="train"):
    return parse(folder / split / "annotations.xml").getroot()


def test_images_are_counted_from_zero_in_each_split(tmp_path):
    images = [exported([], number=7), exported([], number=9, name='b "&" c.jpg'), exported([], split="val", number=7)]
    write_images("cvat", tmp_path, *images)
    found = [(node.attrib["id"], node.attrib["name"], node.attrib["width"]) for node in read(tmp_path).iter("image")]
    assert found == [("0", "a.jpg", "64"), ("1", 'b "&" c.jpg', "64")]
    assert read(tmp_path, "val").find("image").attrib["id"] == "0"
    assert read(tmp_path).findtext("version") == "1.1"


def test_a_box_has_its_edges(tmp_path):
    write_images("cvat", tmp_path, exported([[1, 2.5, 9, 10]], [1]))
    attributes = read(tmp_path).find("image/box").attrib
    assert [float(attributes[key]) for key in ("xtl", "ytl", "xbr", "ybr")] == [1, 2.5, 9, 10]
    assert (attributes["label"], attributes["source"]) == ("dog", "manual")


def test_masks_with_holes_and_of_several_parts_are_masks(tmp_path):
    boxes = [[4, 4, 20, 20], [24, 4, 44, 24], [4, 28, 30, 44]]
    write_images("cvat", tmp_path, exported(boxes, masks=list(map(code, (STAIRS, RING, PAIR)))))
    polygon, ring, pair = read(tmp_path).find("image")
    assert [node.tag for node in (polygon, ring, pair)] == ["polygon", "mask", "mask"]
    assert len(polygon.attrib["points"].split(";")) == 6
    for node, mask in ((ring, RING), (pair, PAIR)):
        np.testing.assert_array_equal(pixels_of(node.attrib), mask)


def pixels_of(attributes):
    """Return a mask as CVAT decodes it: run lengths row by row in the box, background first."""
    left, top, width, height = (int(attributes[key]) for key in ("left", "top", "width", "height"))
    runs = list(map(int, attributes["rle"].split(",")))
    pixels = np.zeros((48, 64), np.uint8)
    pixels[top : top + height, left : left + width] = np.repeat(np.arange(len(runs)) % 2, runs).reshape(height, width)
    return pixels


def test_a_score_is_an_attribute_that_is_declared(tmp_path):
    write_images("cvat", tmp_path, exported([[1, 2, 9, 9]], scores=np.array([0.25], np.float32)))
    root = read(tmp_path)
    assert root.findtext("image/box/attribute[@name='score']") == "0.2500"
    assert root.find("image/box").attrib["source"] == "auto"
    declared = root.findall("meta/task/labels/label")
    assert [label.findtext("attributes/attribute/name") for label in declared] == ["score", "score"]
