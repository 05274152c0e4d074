"""A size that the loader may give to an image must be one that the preprocessing keeps."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from visionkit.preprocessing.classification import ClassificationPreprocessing
from visionkit.preprocessing.detection import DetectionPreprocessing
from visionkit.preprocessing.segmentation import SegmentationPreprocessing

MEAN, STD = [0.5] * 3, [0.25] * 3
sides = st.integers(1, 3000)


@given(sides, sides, st.integers(1, 800), st.integers(0, 500), st.booleans())
def test_detection_keeps_it(height, width, short_side, more, is_fixed):
    size = [short_side, short_side + more] if is_fixed else None
    for fit in ("squash", "letterbox") if is_fixed else ("squash",):
        module = DetectionPreprocessing(short_side, short_side + more, MEAN, STD, size=size, fit=fit)
        resized = module.loader_size(height, width)
        again = module.geometry(*resized)
        assert again.resized == resized
        assert again.input_size == module.geometry(height, width).input_size


@given(sides, sides, st.none() | st.integers(1, 800), st.none() | st.integers(801, 900))
def test_segmentation_keeps_it(height, width, short_side, long_side):
    module = SegmentationPreprocessing(short_side, long_side, 1.0, MEAN, STD)
    resized = module.loader_size(height, width)
    assert module.loader_size(*resized) == resized


@given(sides, sides, sides, sides)
def test_segmentation_keeps_a_fixed_size(height, width, new_height, new_width):
    module = SegmentationPreprocessing(None, None, 1.0, MEAN, STD, size=[new_height, new_width])
    assert module.loader_size(height, width) == (new_height, new_width)
    assert module.loader_size(new_height, new_width) == (new_height, new_width)


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 40), st.integers(0, 20))
def test_classification_keeps_it(height, width, crop, more):
    module = ClassificationPreprocessing(crop + more, crop, MEAN, STD).train()
    resized = module.loader_size(height, width)
    image = torch.randint(0, 256, (3, *resized), dtype=torch.uint8)
    assert module.loader_size(*resized) == resized
    assert resized == (crop, crop) or module.resized(image, module.short_side) is image


def test_classification_resizes_to_the_same_size_itself():
    module = ClassificationPreprocessing(32, 24, MEAN, STD)
    for height, width in ((50, 71), (71, 50), (33, 33)):
        image = torch.zeros(3, height, width, dtype=torch.uint8)
        assert tuple(module.resized(image, 32).shape[-2:]) == module.loader_size(height, width)


def test_none_where_the_size_is_not_known_or_pixels_would_differ():
    assert DetectionPreprocessing(8, 16, MEAN, STD, resize="torchvision").loader_size(20, 30) is None
    assert DetectionPreprocessing(8, 16, MEAN, STD, size=[32, 32], multi_scale=[32, 64]).loader_size(20, 30) is None
    assert SegmentationPreprocessing(None, None, 0.5, MEAN, STD).loader_size(20, 30) is None
