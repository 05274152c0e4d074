import json

import numpy as np
import pytest
from PIL import Image

from visionkit.data.datasets.coco_semantic import CocoSemantic
from visionkit.errors import DataError

CATEGORIES = [{"id": 3, "name": "shirt"}, {"id": 9, "name": "tie"}, {"id": 4, "name": "dog"}]
SIDE = 10


def rectangle(number, category, x1, y1, x2, y2, crowd=0):
    """An object as COCO has it: a polygon, or the counts of a crowd."""
    polygon = [[x1, y1, x2, y1, x2, y2, x1, y2]]
    if crowd:
        plane = np.zeros((SIDE, SIDE), int)
        plane[y1:y2, x1:x2] = 1
        flat = plane.ravel(order="F")
        changes = np.flatnonzero(np.diff(np.concatenate([[0], flat]))).tolist()
        counts = np.diff([0, *changes, len(flat)]).tolist()
        segmentation = {"size": [SIDE, SIDE], "counts": counts}
    return {
        "id": number,
        "image_id": 1,
        "category_id": category,
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": (x2 - x1) * (y2 - y1),
        "iscrowd": crowd,
        "segmentation": segmentation if crowd else polygon,
    }


TIE = rectangle(1, 9, 4, 2, 6, 5)
SHIRT = rectangle(2, 3, 2, 0, 8, 6)
CROWD = rectangle(3, 4, 0, 4, 10, 8, crowd=1)


def opened(root, objects, **options):
    images = [{"id": n, "file_name": f"{n}.png", "height": SIDE, "width": SIDE} for n in (1, 2)]
    for image in images:
        Image.new("RGB", (SIDE, SIDE)).save(root / image["file_name"])
    content = {"images": images, "annotations": objects, "categories": CATEGORIES}
    (root / "instances.json").write_text(json.dumps(content))
    return CocoSemantic(root, "instances.json", **options)


def expected(ground, **numbers):
    """Crowd, then shirt, then the smaller tie; rows and columns as given above."""
    mask = np.full((SIDE, SIDE), ground)
    mask[4:8] = 255
    mask[0:6, 2:8] = numbers["shirt"]
    mask[2:5, 4:6] = numbers["tie"]
    return mask.tolist()


@pytest.mark.parametrize("objects", [[TIE, SHIRT, CROWD], [CROWD, SHIRT, TIE], [SHIRT, CROWD, TIE]])
def test_small_objects_lie_over_large_ones_and_all_over_crowds(tmp_path, objects):
    data = opened(tmp_path, objects)
    assert (data.class_names, data.category_ids) == (["background", "shirt", "dog", "tie"], [0, 3, 4, 9])
    sample = data[0]
    assert sample.semantic.tolist() == data.semantic(0).tolist() == expected(0, shirt=1, tie=3)
    assert sample.semantic.dtype == np.uint8
    assert (sample.image_id, sample.file_name) == (1, "1.png")
    assert not data[1].semantic.any(), "an image without objects is background"


def test_uncovered_pixels_may_be_ignored(tmp_path):
    data = opened(tmp_path, [TIE, SHIRT, CROWD], uncovered="ignore")
    assert (data.class_names, data.category_ids) == (["shirt", "dog", "tie"], [3, 4, 9])
    assert data.semantic(0).tolist() == expected(255, shirt=0, tie=2)


def test_a_pattern_keeps_some_of_the_images(tmp_path):
    data = opened(tmp_path, [SHIRT, {**TIE, "image_id": 2}], only="2.*")
    assert [data.name(index) for index in range(len(data))] == ["2.png"]
    assert np.unique(data.semantic(0)).tolist() == [0, 3]


def test_chosen_classes_have_their_order_with_or_without_the_background_named(tmp_path):
    for classes in (["tie", "shirt"], ["background", "tie", "shirt"]):
        data = opened(tmp_path, [TIE, SHIRT], classes=classes)
        assert data.class_names == ["background", "tie", "shirt"]
        assert np.unique(data.semantic(0)).tolist() == [0, 1, 2]
    assert opened(tmp_path, [TIE, SHIRT, CROWD], classes=["tie", "shirt"]).report == {
        "objects of other classes skipped": 1
    }


def test_a_image_of_another_size_than_stated_is_refused(tmp_path):
    data = opened(tmp_path, [TIE])
    Image.new("RGB", (SIDE, SIDE + 1)).save(tmp_path / "1.png")
    with pytest.raises(DataError, match=r"11 x 10 pixels .*, but its mask has 10 x 10"):
        data[0]
