"""COCO files, as pycocotools reads them."""

import json

import numpy as np
import pytest
from pycocotools import mask as rle
from pycocotools.coco import COCO

from tests.helpers.export_source import PAIR, RING, STAIRS, code
from tests.helpers.exported_image import exported, write_images

BOXES = [[4, 4, 20, 20], [24, 4, 44, 24], [4, 28, 30, 44]]


def read(folder):
    return COCO(folder / "annotations" / "instances_train.json")


def test_pycocotools_gets_the_same_masks_boxes_ids_and_crowds(tmp_path):
    masks = [STAIRS, RING, PAIR]
    image = exported(BOXES, [1, 0, 1], masks=list(map(code, masks)), crowd=[False, False, True], number=42)
    write_images("coco", tmp_path, image, exported([], number=43, name="b.jpg"))
    coco = read(tmp_path)
    assert sorted(coco.imgs) == [42, 43]
    assert coco.imgs[42]["file_name"] == "a.jpg"
    assert (coco.imgs[42]["height"], coco.imgs[42]["width"]) == (48, 64)
    assert [coco.anns[number]["category_id"] for number in (1, 2, 3)] == [9, 5, 9]
    assert [coco.anns[number]["iscrowd"] for number in (1, 2, 3)] == [0, 0, 1]
    assert coco.anns[1]["bbox"] == [4, 4, 16, 16]
    assert coco.anns[1]["area"] == 7
    for number, mask in enumerate(masks, start=1):
        np.testing.assert_array_equal(coco.annToMask(coco.anns[number]), mask)


def test_masks_without_holes_are_polygons_and_others_run_length_codes(tmp_path):
    write_images("coco", tmp_path, exported(BOXES, masks=[code(mask) for mask in (STAIRS, RING, PAIR)]))
    kinds = [type(annotation["segmentation"]) for annotation in read(tmp_path).anns.values()]
    assert kinds == [list, dict, list]


def test_categories_without_objects_are_kept(tmp_path):
    write_images("coco", tmp_path, exported([[1, 2, 3, 4]]))
    assert [(each["id"], each["name"]) for each in read(tmp_path).cats.values()] == [(5, "cat"), (9, "dog")]


def test_scores_are_written(tmp_path):
    write_images("coco", tmp_path, exported([[1, 2, 3, 4]], scores=np.array([0.25], np.float32)))
    assert read(tmp_path).anns[1]["score"] == 0.25
    assert "segmentation" not in read(tmp_path).anns[1]


def test_object_ids_differ_between_splits(tmp_path):
    write_images("coco", tmp_path, exported([[1, 2, 3, 4]]), exported([[1, 2, 3, 4]], split="val"))
    content = json.loads((tmp_path / "annotations" / "instances_val.json").read_text())
    assert content["annotations"][0]["id"] == 2


def test_fractions_are_kept(tmp_path):
    write_images("coco", tmp_path, exported([[1.125, 2.25, 3.3, 40.0625]]))
    assert read(tmp_path).anns[1]["bbox"] == pytest.approx([1.125, 2.25, 2.175, 37.8125], abs=1e-4)


def test_an_empty_mask_is_a_run_length_code(tmp_path):
    write_images("coco", tmp_path, exported([[1, 2, 3, 4]], masks=[code(np.zeros((48, 64), np.uint8))]))
    assert rle.area(read(tmp_path).anns[1]["segmentation"]) == 0
