"""Smaller copies of samples."""

import numpy as np
from pycocotools import mask as rle

from visionkit.data.packed.shrink import shrink
from visionkit.structures import Annotation, Sample


def code(*boxes):
    mask = np.zeros((200, 300), np.uint8)
    for x1, y1, x2, y2 in boxes:
        mask[y1:y2, x1:x2] = 1
    return rle.encode(np.asfortranarray(mask))


def sample(masks=None):
    boxes = np.array([[20, 40, 100, 80], [0, 0, 300, 200], [51, 51, 52, 52]], np.float32)
    flags = np.array([True, False, False])
    annotation = Annotation(boxes, np.array([0, 1, 2]), flags, ~flags, np.array([3200, 60000, 1], np.float32), masks)
    image = np.zeros((200, 300, 3), np.uint8)
    image[40:80, 20:100] = 255
    semantic = np.zeros((200, 300), np.uint8)
    semantic[:, 150:] = 255
    return Sample(image, 7, "a.jpg", annotation, semantic, label=2, tags=np.array([1, 2]))


def test_everything_has_the_new_size():
    found = shrink(sample(), 100)
    assert found.size == found.semantic.shape == (100, 150)
    assert found.annotation.boxes.tolist() == [[10, 20, 50, 40], [0, 0, 150, 100], [25.5, 25.5, 26, 26]]
    assert found.annotation.area.tolist() == [800, 15000, 0.25]
    assert (found.image[20:40, 10:50] > 100).all()
    assert set(np.unique(found.semantic)) == {0, 255}
    assert (found.semantic[:, 75:] == 255).all()
    assert (found.image_id, found.file_name, found.label, found.tags.tolist()) == (7, "a.jpg", 2, [1, 2])
    before = sample().annotation
    for name in ("labels", "crowd", "difficult"):
        np.testing.assert_array_equal(getattr(found.annotation, name), getattr(before, name))


def test_masks_are_scaled_and_none_vanishes():
    masks = [code((20, 40, 100, 80)), code((0, 0, 300, 200)), code((51, 51, 52, 52))]
    found = shrink(sample(masks), 50).annotation
    assert [mask["size"] for mask in found.masks] == [[50, 75]] * 3
    assert rle.area(found.masks).tolist() == found.area.tolist() == [200, 3750, 1]
    assert rle.toBbox(found.masks)[0].tolist() == [5, 10, 20, 10]


def test_images_that_are_small_enough_stay_as_they_are():
    before = sample()
    assert shrink(before, 200) is before
    assert shrink(before, 999) is before
