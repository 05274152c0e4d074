"""YOLO's label files and data.yaml."""

import numpy as np
import pytest
import yaml

from tests.helpers.export_source import PAIR, RING, STAIRS, code, pixels
from tests.helpers.exported_image import exported, write_images


def lines(folder):
    return [list(map(float, line.split())) for line in (folder / "labels" / "train" / "a.txt").read_text().splitlines()]


def test_a_box_is_a_center_and_sides(tmp_path):
    write_images("yolo", tmp_path, exported([[16, 12, 48, 36]], [1]))
    assert lines(tmp_path) == [[1, 0.5, 0.5, 0.5, 0.5]]


def test_a_mask_is_a_polygon_unless_it_is_just_its_box(tmp_path):
    masks = [code(STAIRS), code(pixels((4, 4, 20, 20)))]
    write_images("yolo", tmp_path, exported([[4, 4, 20, 20]] * 2, masks=masks))
    assert list(map(len, lines(tmp_path))) == [1 + 2 * 6, 5]


def test_every_object_has_one_line(tmp_path):
    masks = list(map(code, (RING, PAIR)))
    write_images("yolo", tmp_path, exported([[24, 4, 44, 24], [4, 28, 30, 44]], masks=masks))
    assert len(lines(tmp_path)) == 2


@pytest.mark.parametrize("masks", [None, [code(STAIRS)]])
def test_scores_end_the_line_only_if_asked_for(masks, tmp_path):
    image = exported([[4, 4, 20, 20]], masks=masks, scores=np.array([0.25], np.float32))
    written = {}
    for with_scores in (False, True):
        (tmp_path / str(with_scores)).mkdir()
        write_images("yolo", tmp_path / str(with_scores), image, with_scores=with_scores)
        written[with_scores] = lines(tmp_path / str(with_scores))[0]
    assert written[True] == [*written[False], 0.25]


def test_the_description_names_classes_and_splits(tmp_path):
    write_images("yolo", tmp_path, exported([[1, 2, 9, 9]]), exported([], split="val"))
    description = yaml.safe_load((tmp_path / "data.yaml").read_text())
    assert description == {"train": "images/train", "val": "images/val", "nc": 2, "names": {0: "cat", 1: "dog"}}
    assert (tmp_path / "labels" / "val" / "a.txt").read_text() == ""
