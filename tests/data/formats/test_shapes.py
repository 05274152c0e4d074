import pickle
import subprocess
import sys

import numpy as np
import pytest
from pycocotools import mask as rle

from visionkit.data.formats.shapes import Shapes
from visionkit.errors import RecipeError

SIZES = [64, [33, 97], [128, 40]]


@pytest.mark.parametrize("size", SIZES)
def test_boxes_masks_areas_and_semantic_mask_agree(size):
    shapes = Shapes(count=25, size=size, max_objects=7)
    for index in range(len(shapes)):
        sample = shapes[index]
        assert sample.size == shapes.picture_size(index)
        assert sample.picture.shape[2] == 3
        found = sample.annotation
        union = np.zeros(sample.size, bool)
        for box, label, area, code in zip(found.boxes, found.labels, found.area, found.masks, strict=True):
            mask = rle.decode(code).astype(bool)
            rows, columns = np.nonzero(mask)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert area == mask.sum() >= 16
            assert (sample.semantic[mask] == label + 1).all()
            assert not (union & mask).any(), "visible parts do not overlap"
            union |= mask
        assert (sample.semantic[~union] == 0).all()


def test_the_same_arguments_give_the_same_pictures_in_another_process():
    here = Shapes(count=5, size=48)[3].picture
    code = "from visionkit.data.formats.shapes import Shapes; import hashlib; "
    code += "print(hashlib.md5(Shapes(count=5, size=48)[3].picture.tobytes()).hexdigest())"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    import hashlib

    assert hashlib.md5(here.tobytes()).hexdigest() == there


def test_seed_split_and_index_each_change_the_picture_and_count_does_not():
    picture = Shapes(count=5, size=48)[3].picture
    for other in (Shapes(count=5, size=48, seed=1)[3], Shapes(count=5, size=48, split="val")[3], Shapes(size=48)[4]):
        assert not np.array_equal(picture, other.picture)
    np.testing.assert_array_equal(picture, Shapes(count=5000, size=48)[3].picture)


def test_all_classes_empty_pictures_occlusion_and_cut_objects_occur():
    shapes = Shapes(count=300, size=64, empty_share=0.1)
    annotations = [shapes.annotation(index) for index in range(len(shapes))]
    labels = np.concatenate([found.labels for found in annotations])
    assert set(labels) == set(range(6))
    empty = np.mean([len(found) == 0 for found in annotations])
    assert 0.04 < empty < 0.2
    boxes = np.concatenate([found.boxes for found in annotations])
    assert (boxes[:, 0] == 0).any()
    assert (boxes[:, 2] == 64).any()
    overlapping = sum(_overlap(found.boxes) for found in annotations)
    assert overlapping > 20


def _overlap(boxes):
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    return int((((high - low) > 0).all(axis=2).sum() - len(boxes)) / 2)


def test_the_annotation_alone_equals_the_sample_s():
    shapes = Shapes(count=10, size=64)
    for index in range(10):
        np.testing.assert_array_equal(shapes.annotation(index).boxes, shapes[index].annotation.boxes)


def test_a_picture_label_is_the_largest_visible_object():
    for sample in (Shapes(count=20, size=64)[index] for index in range(20)):
        found = sample.annotation
        assert sample.label == (found.labels[found.area.argmax()] if len(found) else None)


def test_it_travels_to_spawned_workers():
    shapes = Shapes(count=4, size=32)
    again = pickle.loads(pickle.dumps(shapes))
    np.testing.assert_array_equal(shapes[2].picture, again[2].picture)


def test_what_it_hands_out_can_be_changed_without_harm():
    shapes = Shapes(count=4, size=32)
    shapes[1].picture[:] = 0
    assert shapes[1].picture.any()


@pytest.mark.parametrize("wrong", [{"size": 4}, {"count": 0}, {"min_object": 0.9}, {"classes": ["disc"]}])
def test_arguments_out_of_range_are_refused(wrong):
    with pytest.raises(RecipeError):
        Shapes(**wrong)
