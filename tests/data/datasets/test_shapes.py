import hashlib
import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest
from pycocotools import mask as rle

from visionkit.data.datasets import shapes_render
from visionkit.data.datasets.shapes import Shapes
from visionkit.errors import ConfigError

SIZES = [64, [33, 97], [128, 40], 512]


@pytest.mark.parametrize("size", SIZES)
def test_boxes_masks_areas_and_semantic_mask_agree(size):
    shapes = Shapes(count=25 if size != 512 else 4, size=size, max_objects=7, semantic=True)
    for index in range(len(shapes)):
        sample = shapes[index]
        assert sample.size == shapes.image_size(index)
        assert sample.image.shape[2] == 3
        found = sample.annotation
        union = np.zeros(sample.size, bool)
        for box, label, area, code in zip(found.boxes, found.labels, found.area, found.masks, strict=True):
            mask = rle.decode(code).astype(bool)
            rows, columns = np.nonzero(mask)
            assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            assert area == mask.sum() >= 16
            assert (sample.semantic[mask] == label).all()
            assert not (union & mask).any(), "visible parts do not overlap"
            union |= mask
        assert (sample.semantic[~union] == 0).all()
        assert sample.semantic.dtype == np.uint8
        np.testing.assert_array_equal(shapes.semantic(index), sample.semantic)


def test_masks_of_classes_are_made_where_asked_for_and_shift_the_labels_by_the_background():
    plain, masked = Shapes(count=20, size=64), Shapes(count=20, size=64, semantic=True)
    assert masked.class_names == ["background", *plain.class_names]
    assert masked.category_ids == [0, *plain.category_ids]
    for index in range(20):
        first, second = plain[index], masked[index]
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.annotation.labels + 1, second.annotation.labels)
        np.testing.assert_array_equal(first.tags + 1, second.tags)
        assert first.label is second.label is None or first.label + 1 == second.label
        assert first.semantic is plain.semantic(index) is None
    assert not plain.has_semantic(0)
    assert masked.has_semantic(0)


def test_the_same_arguments_give_the_same_images_in_another_process():
    here = Shapes(count=5, size=48)[3].image
    code = "from visionkit.data.datasets.shapes import Shapes; import hashlib; "
    code += "print(hashlib.md5(Shapes(count=5, size=48)[3].image.tobytes()).hexdigest())"
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert hashlib.md5(here.tobytes()).hexdigest() == there


def test_seed_split_and_index_each_change_the_image_and_count_does_not():
    image = Shapes(count=5, size=48)[3].image
    for other in (Shapes(count=5, size=48, seed=1)[3], Shapes(count=5, size=48, split="val")[3], Shapes(size=48)[4]):
        assert not np.array_equal(image, other.image)
    np.testing.assert_array_equal(image, Shapes(count=5000, size=48)[3].image)


def test_all_classes_and_the_share_of_empty_images_occur():
    shapes = Shapes(count=600, size=64, empty_share=0.2)
    annotations = [shapes.annotation(index) for index in range(len(shapes))]
    counts = np.bincount(np.concatenate([found.labels for found in annotations]), minlength=6)
    assert counts.min() > 0.7 * counts.mean()
    empty = np.mean([len(found) == 0 for found in annotations])
    assert abs(empty - 0.2) < 4 * np.sqrt(0.2 * 0.8 / 600), "four standard deviations"
    assert {len(found) for found in annotations} == set(range(6))


def test_objects_are_cut_by_every_border_and_hidden_by_each_other():
    shapes = Shapes(count=200, size=64)
    scenes = [shapes._scene(index, shapes._generator(index)) for index in range(len(shapes))]
    boxes = np.concatenate([scene.boxes() for scene in scenes])
    assert (boxes[:, :2] == 0).any(axis=0).all()
    assert (boxes[:, 2:] == 64).any(axis=0).all()
    alone = np.concatenate([[(placed.coverage >= 0.5).sum() for placed in scene.objects] for scene in scenes])
    visible = np.concatenate([scene.areas() for scene in scenes])
    assert (visible <= alone).all()
    assert 0.05 < (visible < 0.9 * alone).mean() < 0.5


def test_nothing_visible_is_without_annotation():
    for index in range(60):
        shapes = Shapes(count=60, size=64, max_objects=8, semantic=True)
        random = shapes._generator(index)
        scene = shapes._scene(index, random)
        ground = shapes_render.random_background(random, shapes.size, shapes.texture)
        changed = np.abs(shapes[index].image - np.clip(ground, 0, 255)).max(axis=2) > 1
        annotated = (shapes[index].semantic > 0).astype(np.uint8)
        # An edge or tip may run on for up to two pixels of which the object covers less than half each.
        assert not (changed & (cv2.dilate(annotated, np.ones((5, 5))) == 0)).any()
        painted = (annotated > 0) & changed
        assert painted.sum() >= 0.97 * annotated.sum(), "and nothing annotated is missing from the image"
        assert len(scene.labels) == len(shapes[index].annotation)


@pytest.mark.parametrize("label", range(6))
def test_a_form_covers_the_pixels_that_lie_inside_its_outline(label):
    """Against the even-odd rule at 8 x 8 points of each pixel."""
    outlines = [polygon * 20 + (23.3, 26.8) for polygon in list(shapes_render.SHAPE_OUTLINES.values())[label]]
    reference = _even_odd(outlines, 50).reshape(50, 8, 50, 8).mean(axis=(1, 3))
    coverage = shapes_render._coverage(outlines, 0, 0, 50, 50)
    # OpenCV's filling takes in the outline itself, which is half a fine pixel on every side.
    half_fine_pixel = 0.5 / shapes_render.SUPERSAMPLING
    lengths = [np.linalg.norm(outline - np.roll(outline, 1, axis=0), axis=1).sum() for outline in outlines]
    grown = (lengths[0] - sum(lengths[1:])) * half_fine_pixel
    assert coverage.sum() - reference.sum() == pytest.approx(grown, abs=0.5 * half_fine_pixel * sum(lengths))
    assert np.abs(coverage - reference).max() < 0.5
    differ = (coverage >= 0.5) != (reference >= 0.5)
    assert (np.abs(reference - 0.5)[differ] < 0.4).all()
    whole = abs(shapes_render._area(outlines[0])) - sum(abs(shapes_render._area(hole)) for hole in outlines[1:])
    assert reference.sum() == pytest.approx(whole, rel=0.01)


def _even_odd(outlines, size, finer=8):
    y, x = (np.mgrid[: size * finer, : size * finer] + 0.5) / finer
    inside = np.zeros(y.shape, bool)
    for outline in outlines:
        for (x1, y1), (x2, y2) in zip(outline, np.roll(outline, -1, axis=0), strict=True):
            if y1 != y2:
                inside ^= ((y1 > y) != (y2 > y)) & (x < x1 + (y - y1) * (x2 - x1) / (y2 - y1))
    return inside


def test_the_data_set_stays_what_it_was():
    """Published results refer to these images: a change of the renderer invalidates them."""
    shapes = Shapes(count=1100, size=96, min_object=0.3, max_object=0.7, max_objects=4)
    found = [shapes.annotation(index) for index in range(20)]
    boxes = np.concatenate([annotation.boxes for annotation in found])
    labels = np.concatenate([annotation.labels for annotation in found])
    assert len(labels) == 43
    assert labels[:12].tolist() == [0, 2, 5, 3, 2, 5, 3, 2, 4, 4, 1, 2]
    assert boxes[:3].tolist() == [[45, 63, 79, 95], [39, 11, 80, 63], [14, 69, 49, 96]]
    assert boxes.sum() == 8855
    assert sum(annotation.area.sum() for annotation in found) == 32564
    colors = np.mean([shapes[index].image for index in range(20)])
    assert colors == pytest.approx(127.5149, abs=0.001), "the room is for OpenCV's rounding"


def test_the_annotation_alone_equals_the_sample_s():
    shapes = Shapes(count=10, size=64)
    for index in range(10):
        np.testing.assert_array_equal(shapes.annotation(index).boxes, shapes[index].annotation.boxes)


def test_a_image_label_is_the_largest_visible_object():
    for sample in (Shapes(count=20, size=64)[index] for index in range(20)):
        found = sample.annotation
        assert sample.label == (found.labels[found.area.argmax()] if len(found) else None)


def test_it_travels_to_spawned_workers():
    shapes = Shapes(count=4, size=32)
    again = pickle.loads(pickle.dumps(shapes))
    np.testing.assert_array_equal(shapes[2].image, again[2].image)


def test_what_it_hands_out_can_be_changed_without_harm():
    shapes = Shapes(count=4, size=32)
    shapes[1].image[:] = 0
    assert shapes[1].image.any()


@pytest.mark.parametrize("index", [-1, 3])
def test_an_index_beyond_the_set_is_refused(index):
    shapes = Shapes(count=3, size=32)
    with pytest.raises(IndexError):
        shapes[index]
    with pytest.raises(IndexError):
        shapes.annotation(index)


WRONG = [
    {"size": 4},
    {"size": 8},
    {"size": [96]},
    {"size": [96, 96, 3]},
    {"size": [96.5, 96]},
    {"size": "96"},
    {"count": 0},
    {"count": 2.5},
    {"seed": -1},
    {"seed": None},
    {"split": 2012},
    {"max_objects": True},
    {"min_object": 0.0},
    {"min_object": 0.9},
    {"max_object": 50},
    {"max_object": float("nan")},
    {"empty_share": 2},
    {"texture": "strong"},
    {"texture": float("nan")},
    {"classes": ["disc"]},
]


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_arguments_of_wrong_type_or_range_are_refused_by_name(wrong):
    with pytest.raises(ConfigError) as error:
        Shapes(**wrong)
    message = str(error.value)
    assert next(iter(wrong)) in message
    assert message.count("\n") < 5
