"""LabelMe's JSON files."""

import json

import numpy as np

from tests.helpers.export_source import PAIR, STAIRS, code
from tests.helpers.exported_image import exported, write_images


def read(folder):
    return json.loads((folder / "train" / "a.json").read_text())


def test_a_file_has_all_keys_of_labelme_and_no_image_data(tmp_path):
    write_images("labelme", tmp_path, exported([[1, 2.5, 9, 9]], [1]), names=("cat", "Hündin"))
    content = read(tmp_path)
    shape = content.pop("shapes")[0]
    assert content == {
        "version": "5.5.0",
        "flags": {},
        "imagePath": "a.jpg",
        "imageData": None,
        "imageHeight": 48,
        "imageWidth": 64,
    }
    assert shape == {
        "label": "Hündin",
        "points": [[1, 2.5], [9, 9]],
        "group_id": None,
        "description": "",
        "shape_type": "rectangle",
        "flags": {},
        "mask": None,
    }
    assert (tmp_path / "labels.txt").read_text(encoding="utf-8") == "cat\nHündin\n"


def test_parts_of_an_object_have_a_group(tmp_path):
    masks = list(map(code, (STAIRS, PAIR)))
    write_images("labelme", tmp_path, exported([[4, 4, 20, 20], [4, 28, 30, 44]], masks=masks))
    shapes = [(shape["shape_type"], shape["group_id"], len(shape["points"])) for shape in read(tmp_path)["shapes"]]
    assert shapes == [("polygon", None, 6), ("polygon", 1, 4), ("polygon", 1, 4)]


def test_a_score_is_a_description(tmp_path):
    write_images("labelme", tmp_path, exported([[1, 2, 9, 9]], scores=np.array([0.25], np.float32)))
    assert read(tmp_path)["shapes"][0]["description"] == "score 0.2500"
