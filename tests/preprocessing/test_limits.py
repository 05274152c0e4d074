import pytest
import torch

from visionkit.data.transforms.resize import resize_image
from visionkit.errors import DataError
from visionkit.preprocessing import limits
from visionkit.preprocessing.classification import ClassificationPreprocessing
from visionkit.preprocessing.segmentation import SegmentationPreprocessing

STATISTICS = {"mean": [0.5] * 3, "std": [0.5] * 3}


def test_a_narrow_image_is_refused_before_a_classifier_resizes_it():
    """Its short side of one pixel would become 96, its long side 5.8 million."""
    preprocessing = ClassificationPreprocessing(96, 96, **STATISTICS).eval()
    for size in ((60000, 1), (1, 60000)):
        with pytest.raises(DataError, match=rf"an image of {size[0]} x {size[1]} pixels .* would be resized to"):
            preprocessing([torch.zeros(3, *size, dtype=torch.uint8)])
    assert preprocessing([torch.zeros(3, 6000, 10, dtype=torch.uint8)]).shape == (1, 3, 96, 96)


def test_a_large_image_is_refused_by_an_untiled_segmenter():
    image = torch.zeros(1, dtype=torch.uint8).expand(1, 3, 12000, 12000)
    for options in ({"short_side": None, "scale": 1.0}, {"short_side": 96, "scale": 1.0}):
        preprocessing = SegmentationPreprocessing(long_side=None, **options, **STATISTICS)
        with pytest.raises(DataError, match=r"12000 x 12000 pixels (?s:.*)set inference\.tile=512"):
            preprocessing(image, preprocessing.scale(12000, 12000))


def test_the_limit_is_that_of_the_resized_image(monkeypatch):
    monkeypatch.setattr(limits, "MAX_INPUT_PIXELS", 400)
    preprocessing = SegmentationPreprocessing(None, None, 2.0, **STATISTICS)
    assert preprocessing(torch.zeros(1, 3, 10, 10, dtype=torch.uint8), (2.0, 2.0)).shape[-2:] == (20, 20)
    with pytest.raises(DataError, match="would be resized to 22 x 22, which has more than the 400 pixels"):
        preprocessing(torch.zeros(1, 3, 11, 11, dtype=torch.uint8), (2.0, 2.0))


def test_a_fixed_size_has_the_same_limit(monkeypatch):
    monkeypatch.setattr(limits, "MAX_INPUT_PIXELS", 400)
    image, mask = torch.zeros(3, 10, 10, dtype=torch.uint8), torch.zeros(10, 10, dtype=torch.uint8)
    fitting = SegmentationPreprocessing(None, None, 1.0, **STATISTICS, size=[10, 40])
    assert fitting.batch([image], [mask])[0].shape[-2:] == (10, 40)
    with pytest.raises(DataError, match="would be resized to 10 x 41, which has more than the 400 pixels"):
        SegmentationPreprocessing(None, None, 1.0, **STATISTICS, size=[10, 41]).batch([image], [mask])


def test_augmentation_has_the_same_limit():
    image = torch.zeros(10, 1, 3, dtype=torch.uint8).numpy()
    with pytest.raises(DataError, match="would be resized to 500000 x 500"):
        resize_image(image, 500_000, 500)
    assert resize_image(image, 20, 2).shape == (20, 2, 3)
