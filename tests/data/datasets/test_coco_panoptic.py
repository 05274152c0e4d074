import json

import numpy as np
import pytest
from PIL import Image

from visionkit.data.datasets.coco_panoptic import CocoPanoptic
from visionkit.errors import DataError

CATEGORIES = [{"id": 1, "name": "person", "isthing": 1}, {"id": 200, "name": "rug-merged", "isthing": 0}]
SEGMENTS = np.array([[0, 7, 7], [300, 70_000, 9]])
DESCRIBED = [
    {"id": 70_000, "category_id": 200, "iscrowd": 0},
    {"id": 300, "category_id": 1, "iscrowd": 0},
    {"id": 7, "category_id": 1, "iscrowd": 0},
    {"id": 9, "category_id": 1, "iscrowd": 1},
]


def opened(root, segments=DESCRIBED, annotations=None, **options):
    """An image of 3 x 2 pixels; the id of a segment is R + 256 G + 65536 B."""
    for folder in ("val", "masks"):
        (root / folder).mkdir(exist_ok=True)
    Image.new("RGB", (3, 2)).save(root / "val" / "5.png")
    Image.fromarray(np.stack([SEGMENTS >> shift & 255 for shift in (0, 8, 16)], axis=2).astype(np.uint8)).save(
        root / "masks" / "5.png"
    )
    described = [{"image_id": 5, "file_name": "5.png", "segments_info": segments}]
    content = {
        "images": [{"id": 5, "file_name": "5.png", "height": 2, "width": 3}],
        "annotations": described if annotations is None else annotations,
        "categories": CATEGORIES,
    }
    (root / "panoptic.json").write_text(json.dumps(content))
    return CocoPanoptic(root, "panoptic.json", "masks", "val", **options)


@pytest.mark.parametrize(
    ("options", "names", "expected"),
    [
        ({}, ["person", "rug-merged"], [[255, 0, 0], [0, 1, 255]]),
        ({"uncovered": "background"}, ["background", "person", "rug-merged"], [[0, 1, 1], [1, 2, 255]]),
        ({"classes": ["rug-merged", "person"]}, ["rug-merged", "person"], [[255, 1, 1], [1, 0, 255]]),
        (
            {"uncovered": "background", "classes": ["background", "person"]},
            ["background", "person"],
            [[0, 1, 1], [1, 0, 255]],
        ),
    ],
)
def test_segments_become_classes(tmp_path, options, names, expected):
    data = opened(tmp_path, **options)
    assert data.class_names == names
    sample = data[0]
    assert sample.semantic.tolist() == data.semantic(0).tolist() == expected
    assert sample.semantic.dtype == np.uint8
    assert (sample.image_id, sample.file_name) == (5, "5.png")


def test_a_pattern_keeps_some_of_the_images(tmp_path):
    opened(tmp_path)
    path = tmp_path / "panoptic.json"
    content = json.loads(path.read_text())
    content["images"].insert(0, {"id": 6, "file_name": "gone.png", "height": 2, "width": 3})
    content["annotations"].append({"image_id": 6, "file_name": "gone.png", "segments_info": "none"})
    path.write_text(json.dumps(content))
    data = CocoPanoptic(tmp_path, "panoptic.json", "masks", "val", only="5.*")
    assert [data.image_id(index) for index in range(len(data))] == [5]
    assert data.semantic(0).tolist() == [[255, 0, 0], [0, 1, 255]]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segments": DESCRIBED[1:]}, r"masks/5.png has segments that are not in panoptic.json: 70000"),
        ({"segments": DESCRIBED[:-1]}, r"not in panoptic.json: 9"),
        ({"segments": [*DESCRIBED, {"id": 8, "category_id": 77}]}, "segment 8 has an unknown category 77"),
        ({"annotations": []}, "1 images have no annotation: 5"),
        ({"annotations": [{"image_id": 5, "file_name": "6.png", "segments_info": []}]}, r"are missing: .*6.png"),
        (
            {"annotations": [{"image_id": 5, "file_name": "../5.png", "segments_info": []}]},
            r"'\.\./5\.png' is outside .*masks",
        ),
        ({"annotations": [{"image_id": 5, "bbox": []}]}, "annotation of image 5 has no file_name"),
        ({"classes": ["rug"]}, "has no category rug"),
        ({"only": "6.*"}, r"no image has a file name that matches only: '6\.\*'"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, options, message):
    with pytest.raises(DataError, match=message):
        opened(tmp_path, **options)[0]


def test_a_gray_mask_has_no_ids(tmp_path):
    data = opened(tmp_path)
    Image.new("L", (3, 2)).save(tmp_path / "masks" / "5.png")
    with pytest.raises(DataError, match="is not an RGB image, so it has no segment ids"):
        data[0]
