import json
import resource
import time

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from visionkit.data.datasets import coco_masks
from visionkit.data.datasets.coco import Coco
from visionkit.data.datasets.coco_semantic import CocoSemantic
from visionkit.data.stats.check import check
from visionkit.errors import DataError

SQUARE = [4, 4, 20, 4, 20, 20, 4, 20]
PIXELS = 40 * 60


def write(folder, *segmentations, size=(40, 60)):
    objects = [
        {"id": 70 + k, "image_id": 1, "category_id": 1, "bbox": [1, 2, 10, 20], "segmentation": value}
        for k, value in enumerate(segmentations)
    ]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": size[0], "width": size[1]}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": objects,
    }
    Image.new("L", size[::-1]).save(folder / "a.png")
    (folder / "i.json").write_text(json.dumps(content))
    return folder


def masks_of(folder, *segmentations, **options):
    return Coco(write(folder, *segmentations, **options), "i.json", masks=True).annotation(0).masks


def compressed(size=(40, 60)):
    plane = np.zeros(size, np.uint8)
    plane[3:9, 5:30] = 1
    return {"size": list(size), "counts": rle.encode(np.asfortranarray(plane))["counts"].decode()}


BAD = {
    "missing": None,
    "text": "polygon",
    "number": 5,
    "no polygon": [],
    "empty polygon": [[]],
    "null polygon": [None],
    "flat list": SQUARE,
    "odd number": [[*SQUARE, 3]],
    "odd second": [SQUARE, SQUARE[:7]],
    "a point": [[4, 4]],
    "a box": [[4, 4, 10, 10]],
    "text inside": [["4", *SQUARE[1:]]],
    "null inside": [[None, *SQUARE[1:]]],
    "true inside": [[True, *SQUARE[1:]]],
    "list inside": [[SQUARE, *SQUARE[1:]]],
    "NaN": [[float("nan"), *SQUARE[1:]]],
    "infinity": [[*SQUARE[:-1], float("inf")]],
    "huge integer": [[10**400, *SQUARE[1:]]],
    "empty code": {},
    "no counts": {"size": [40, 60]},
    "null counts": {"size": [40, 60], "counts": None},
    "empty list": {"size": [40, 60], "counts": []},
    "empty text": {"size": [40, 60], "counts": ""},
    "no size": {"counts": [PIXELS]},
    "another size": {"size": [60, 40], "counts": [PIXELS]},
    "size of one": {"size": [2400], "counts": [PIXELS]},
    "text size": {"size": "40 60", "counts": [PIXELS]},
    "short counts": {"size": [40, 60], "counts": [0, 30, 2369]},
    "long counts": {"size": [40, 60], "counts": [0, 30, 2371]},
    "negative counts": {"size": [40, 60], "counts": [-30, 60, 2370]},
    "fractions": {"size": [40, 60], "counts": [0.5, 2399.5]},
    "text counts": {"size": [40, 60], "counts": ["0", "2400"]},
    "huge counts": {"size": [40, 60], "counts": [2**40]},
    "its own huge size": {"size": [10**6, 10**6], "counts": [10**12]},
    "cut text": {**compressed(), "counts": compressed()["counts"][:-1]},
    "doubled text": {**compressed(), "counts": compressed()["counts"] * 2},
    "text of another image": {**compressed((41, 60)), "size": [40, 60]},
    "umlauts": {"size": [40, 60], "counts": "äöü"},
    "blanks": {"size": [40, 60], "counts": "   "},
}


@pytest.mark.parametrize("case", BAD)
def test_malformed_masks_are_refused_at_the_start_with_file_and_annotation(tmp_path, case):
    """Among valid masks, which come before and after in the file."""
    write(tmp_path, [SQUARE], compressed(), BAD[case], compressed(), [SQUARE])
    with pytest.raises(DataError, match=r"i\.json: annotation 72 has") as caught:
        Coco(tmp_path, "i.json", masks=True)
    assert len(str(caught.value)) < 600
    assert len(Coco(tmp_path, "i.json").annotation(0)) == 5, "without masks the segmentations are not read"
    with pytest.raises(DataError, match=r"annotation 72 has"):
        CocoSemantic(tmp_path, "i.json")


def test_masks_are_those_of_pycocotools(tmp_path):
    pieces = [SQUARE, [30.5, 3.25, 50, 3, 41, 30.75], [-3, -2, 70, 10, 8, 45]]
    given = [pieces[:1], compressed(), pieces, {"size": [40, 60], "counts": [5, 20, PIXELS - 25]}]
    masks = masks_of(tmp_path, *given)
    assert masks[1] == {"size": [40, 60], "counts": compressed()["counts"].encode()}
    assert masks[3] == rle.frPyObjects(given[3], 40, 60)
    assert [masks[0], masks[2]] == [rle.merge(rle.frPyObjects(polygons, 40, 60)) for polygons in (given[0], given[2])]


def test_polygons_without_area_beside_others_are_dropped_and_counted(tmp_path):
    write(tmp_path, [SQUARE, [3, 3], [5, 5, 9, 9]], [SQUARE])
    coco = Coco(tmp_path, "i.json", masks=True)
    first, second = coco.annotation(0).masks
    assert first == second
    assert coco.report == {"polygons with fewer than three points dropped": 2}


@pytest.mark.parametrize("far", [1e9, -1e9, 1e300, 1000.0])
def test_far_points_cost_neither_memory_nor_time(tmp_path, far):
    """pycocotools allocates memory for the whole length of the edges, which are more than five gigabytes here."""
    write(tmp_path, [[4, 4, far, 4, far, 30, 4, 30]])
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    coco = Coco(tmp_path, "i.json", masks=True)
    area = rle.area(coco.annotation(0).masks[0])
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024
    assert time.process_time() - start < 1
    assert area == (4 if far < 0 else 56) * 26
    assert coco.report == {"polygons clipped to the surroundings of their image": 1}


def test_points_near_the_image_stay_as_they_are(tmp_path):
    polygon = [-50, -20, 110, -20, 110, 90, -50, 90]
    write(tmp_path, [polygon])
    coco = Coco(tmp_path, "i.json", masks=True)
    assert coco.report == {}
    assert coco.annotation(0).masks[0] == rle.merge(rle.frPyObjects([polygon], 40, 60))


def test_polygons_that_cross_the_image_too_often_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(coco_masks, "MAX_PERIMETER", 3000)
    zigzag = [coordinate for k in range(100) for coordinate in ((k % 2) * 59, k % 40)]
    with pytest.raises(DataError, match=r"annotation 71 has a polygon that is longer than 3000 pixels"):
        masks_of(tmp_path, [SQUARE], [zigzag])
    assert masks_of(tmp_path, [[k % 3 for k in range(200)]]), "many points on a short way"


def test_the_data_check_sees_the_masks(tmp_path):
    coco = Coco(write(tmp_path, [SQUARE, [3, 3]]), "i.json", masks=True)
    assert "polygons with fewer than three points dropped: 1" in check(coco).lines()
