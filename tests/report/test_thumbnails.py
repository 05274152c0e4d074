"""Thumbnails: sizes, boxes, outlines of masks, layers of semantic masks."""

import base64
import io
import re

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as rle

from tests.helpers.samples import sample
from visionkit.data.datasets.shapes import Shapes
from visionkit.ops.palette import class_color
from visionkit.report.thumbnails import (
    LONG_SIDE,
    MAX_JPEG_BYTES,
    MAX_LAYER_CHARACTERS,
    MAX_OBJECTS,
    MAX_OUTLINE_CHARACTERS,
    make_thumbnail,
)
from visionkit.structures import Annotation, Sample

COLORS = [class_color(label) for label in range(8)]


def decode(uri):
    kind, content = uri.split(";base64,")
    assert kind in ("data:image/jpeg", "data:image/png")
    return Image.open(io.BytesIO(base64.b64decode(content)))


def draw(path, size, scale):
    """The mask [H * scale, W * scale] of an SVG path."""
    canvas = np.zeros((size[0] * scale, size[1] * scale), np.uint8)
    points = [
        [[float(x) for x in point.split(",")] for point in part.split()] for part in re.findall("M([^Z]+)Z", path)
    ]
    cv2.fillPoly(canvas, [(np.array(part) * scale).round().astype(np.int32) for part in points], 1)
    return canvas


@pytest.mark.parametrize(
    ("size", "view"),
    [((60, 80), (60, 80)), ((1000, 2000), (192, 384)), ((9000, 4), (384, 1)), ((385, 384), (384, 383))],
)
def test_large_images_are_made_smaller(size, view):
    found = make_thumbnail(Sample(np.full((*size, 3), 77, np.uint8), 1, "a.png"), COLORS)
    assert (found.size, found.view) == (size, view)
    image = decode(found.uri)
    assert image.size == view[::-1]
    assert image.getpixel((0, 0)) == pytest.approx((77, 77, 77), abs=2)


def test_colors_keep_their_order():
    found = decode(make_thumbnail(Sample(np.full((32, 32, 3), (250, 100, 10), np.uint8), 1, "a.png"), COLORS).uri)
    assert found.getpixel((9, 9)) == pytest.approx((250, 100, 10), abs=4)


def test_noise_stays_below_the_limit():
    noise = np.random.default_rng(0).integers(0, 256, (LONG_SIDE, LONG_SIDE, 3), np.uint8)
    assert len(base64.b64decode(make_thumbnail(Sample(noise, 1, "a"), COLORS).uri[23:])) <= MAX_JPEG_BYTES


def test_boxes_are_in_pixels_of_the_thumbnail_and_large_ones_come_first():
    boxes = np.array([[0, 0, 40, 20], [100, 200, 768, 400]], np.float32)
    flags = np.array([True, False]), np.array([False, True])
    annotation = Annotation(boxes, np.array([1, 0]), *flags, np.array([800, 133_600], np.float32))
    found = make_thumbnail(Sample(np.zeros((400, 768, 3), np.uint8), 1, "a", annotation), COLORS)
    assert [tuple(box[:6]) for box in found.boxes] == [(0, "large", 50, 100, 334, 100), (1, "small", 0, 0, 20, 10)]
    assert [box.flags for box in found.boxes] == ["difficult", "crowd"]
    assert found.boxes[0].text == "668 x 200 px"
    assert found.objects_per_class == {0: 1, 1: 1}
    assert found.keys == "0large 1small"


def test_outlines_enclose_the_masks():
    shapes = Shapes(count=6, size=300, empty_share=0.0)
    drawn = set()
    for sample_of_shapes in (shapes[index] for index in range(6)):
        annotation = sample_of_shapes.annotation
        largest_first = np.argsort(-annotation.area, kind="stable")
        for box, index in zip(make_thumbnail(sample_of_shapes, COLORS).boxes, largest_first, strict=True):
            mask = cv2.resize(rle.decode(annotation.masks[index]), None, fx=4, fy=4, interpolation=cv2.INTER_NEAREST)
            outline = draw(box.path, (300, 300), 4)
            assert (mask & outline).sum() / (mask | outline).sum() > 0.9
            drawn.add(shapes.class_names[box.label])
    assert "ring" in drawn  # it has a hole


def test_layers_are_the_classes_of_the_semantic_mask():
    given = sample(3)
    given.semantic[:5], given.semantic[5:9] = 255, len(COLORS)  # ignored, and a value without a class
    found = make_thumbnail(given, COLORS)
    assert [layer.label for layer in found.layers] == [label for label in np.unique(given.semantic) if label < 8]
    for layer in found.layers:
        image = decode(layer.uri)
        pixels = np.asarray(image.convert("RGBA"))
        np.testing.assert_array_equal(pixels[..., 3] == 255, given.semantic == layer.label)
        assert (pixels[given.semantic == layer.label][:, :3] == COLORS[layer.label]).all()


def test_images_have_their_class_or_tags_if_nothing_is_drawn():
    blank = np.zeros((8, 8, 3), np.uint8)
    assert make_thumbnail(Sample(blank, 1, "a", label=3), COLORS).labels == [3]
    tagged = make_thumbnail(Sample(blank, 1, "a", label=3, tags=np.array([2, 5])), COLORS)
    assert (tagged.labels, tagged.keys, tagged.classes) == ([2, 5], "2 5", {2, 5})
    assert make_thumbnail(Sample(blank, 1, "a"), COLORS).keys == ""
    assert make_thumbnail(sample(2), COLORS).labels == []


def crowded(count, side=400, masks=None):
    """A black image with objects of all sizes, whose classes are 0 to 7."""
    sides = np.linspace(2, side, count, dtype=np.float32)
    boxes = np.stack([np.zeros(count), np.zeros(count), sides, sides], axis=1).astype(np.float32)
    flags = np.zeros(count, bool)
    annotation = Annotation(boxes, np.arange(count) % 8, flags, flags, sides**2, masks)
    return Sample(np.zeros((side, side, 3), np.uint8), 1, "a", annotation)


def test_some_of_many_objects_are_drawn_and_all_are_counted():
    found = make_thumbnail(crowded(200_000), COLORS)
    assert len(found.boxes) == MAX_OBJECTS
    assert found.notes == ["500 of 200000 objects drawn"]
    assert sum(found.objects_per_class.values()) == 200_000
    assert {box.size for box in found.boxes} == {"small", "medium", "large"}
    assert found.boxes[0].width == LONG_SIDE
    assert make_thumbnail(crowded(MAX_OBJECTS), COLORS).notes == []


def test_outlines_of_frayed_masks_stay_below_the_limit():
    noise = np.random.default_rng(0).random((LONG_SIDE, LONG_SIDE)) < 0.3
    code = rle.encode(np.asfortranarray(noise.astype(np.uint8)))
    found = make_thumbnail(crowded(5, LONG_SIDE, [code] * 5), COLORS)
    assert len(found.boxes) == 1  # one alone is longer
    assert found.notes == ["1 of 5 objects drawn"]
    whole = rle.encode(np.ones((LONG_SIDE, LONG_SIDE), np.uint8, order="F"))
    found = make_thumbnail(crowded(50, LONG_SIDE, [whole] * 50), COLORS)
    assert len(found.boxes) == 50
    assert sum(len(box.path) for box in found.boxes) < MAX_OUTLINE_CHARACTERS


def test_layers_of_noise_are_drawn_coarsely():
    noise = np.random.default_rng(0).integers(0, 200, (LONG_SIDE, LONG_SIDE), np.uint8)
    colors = [class_color(label) for label in range(200)]
    given = Sample(np.zeros((LONG_SIDE, LONG_SIDE, 3), np.uint8), 1, "a", semantic=noise)
    found = make_thumbnail(given, colors)
    assert sum(len(layer.uri) for layer in found.layers) <= MAX_LAYER_CHARACTERS
    assert re.fullmatch(r"mask drawn \d+ times as coarse as the image", found.notes[0])
