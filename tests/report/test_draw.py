import dataclasses

import numpy as np
import pytest
from pycocotools import mask as rle

from visionkit.ops.palette import class_color
from visionkit.pipelines.results import ClassificationResult, DetectionResult, SegmentationResult
from visionkit.report.draw import draw


def detections(count):
    boxes = np.array([[10, 10, 40, 30]] * count, np.float32).reshape(-1, 4)
    return DetectionResult(
        None, ["disc", "ring", "star"], np.zeros(count, np.int64), boxes, np.full(count, 0.9, np.float32)
    )


def test_boxes_are_drawn_on_a_copy():
    image = np.full((64, 64, 3), 128, np.uint8)
    drawn = draw(detections(1), image)
    assert (image == 128).all()
    assert drawn.shape == image.shape
    assert (drawn[30, 12:38] != 128).any(), "the lower edge of the box"
    assert (drawn[40:, 45:] == 128).all(), "nothing is drawn elsewhere"
    np.testing.assert_array_equal(draw(detections(0), image), image)


def text_pixels(drawn):
    """Number of pixels of white text."""
    return (drawn == 255).all(axis=2).sum()


@pytest.mark.parametrize("corner", [(0, 0), (150, 0), (0, 90), (150, 90)])
def test_labels_are_completely_inside_the_image(corner):
    image = np.full((100, 160, 3), 128, np.uint8)
    named = dataclasses.replace(detections(1), class_names=["erythrocyte"])
    corners, middle = (np.array([[x, y, x + 9, y + 9]], np.float32) for x, y in (corner, (60, 50)))
    drawn, whole = (draw(dataclasses.replace(named, boxes=boxes), image) for boxes in (corners, middle))
    assert text_pixels(drawn) == text_pixels(whole) > 10


def test_names_are_readable_on_bright_and_on_dark_colors():
    image = np.full((100, 160, 3), 128, np.uint8)
    red, lime = (dataclasses.replace(detections(1), labels=np.array([label])) for label in (0, 2))
    assert text_pixels(draw(red, image)) > 0
    assert text_pixels(draw(lime, image)) == 0
    assert (draw(lime, image) == 0).all(axis=2).sum() > 0


def test_masks_of_objects_are_colored():
    image = np.full((64, 64, 3), 128, np.uint8)
    plane = np.zeros((64, 64, 1), np.uint8, order="F")
    plane[40:60, 40:60] = 1
    drawn = draw(dataclasses.replace(detections(1), masks=rle.encode(plane)), image)
    assert (drawn[40:60, 40:60] != 128).any(axis=-1).all()
    assert (drawn[40:60, 10:38] == 128).all()


def classes(count):
    scores = np.linspace(0.9, 0.1, count, dtype=np.float32)
    return ClassificationResult(None, [f"class {label}" for label in range(count)], np.arange(count), scores)


def test_classes_are_named_under_the_image():
    image = np.full((64, 96, 3), 128, np.uint8)
    heights = []
    for count in (0, 1, 2, 3, 9):
        drawn = draw(classes(count), image)
        np.testing.assert_array_equal(drawn[:64], image)
        assert drawn.dtype == np.uint8
        assert drawn.shape[1:] == (96, 3)
        assert (drawn[64:] > 0).any() == (count > 0), "text on black"
        heights.append(len(drawn))
    assert heights == sorted(heights)
    assert heights[1] < heights[2] < heights[3] == heights[4], "three lines at the most"
    assert (image == 128).all()


def segments(names, width=96):
    mask = np.zeros((64, width), np.uint8)
    mask[:, 48:] = 1
    count = len(names)
    colors = [[255, 0, 0], [0, 0, 255], *[[9, 9, 9]] * count]
    return SegmentationResult(None, names, np.arange(count), mask, np.full(count, 0.5, np.float32), colors)


def test_class_colors_are_blended_with_the_image_and_named_under_it():
    image = np.full((64, 96, 3), 128, np.uint8)
    drawn = draw(segments(["ant", "bee"]), image)
    assert drawn[10, 10].tolist() == [191, 64, 64]
    assert drawn[10, 90].tolist() == [64, 64, 191]
    assert (image == 128).all()
    assert drawn.shape[1:] == (96, 3)
    for color in ([255, 0, 0], [0, 0, 255]):
        assert (drawn[64:] == color).all(axis=2).sum() > 50, "its square in the legend"
    assert drawn.dtype == np.uint8


def test_a_legend_has_as_many_lines_as_needed():
    heights = [len(draw(segments(["a class"] * count), np.zeros((64, 96, 3), np.uint8))) - 64 for count in (0, 1, 4, 8)]
    assert heights[0] == heights[1] < heights[2] < heights[3]


def test_large_images_get_larger_text():
    strips = [len(draw(classes(1), np.zeros((side, side, 3), np.uint8))) - side for side in (200, 640, 2000)]
    assert strips[0] <= strips[1] < strips[2]


def test_classes_have_different_colors():
    assert len({class_color(label) for label in range(80)}) > 70
