import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.transforms import v2

from visionkit.errors import ConfigError
from visionkit.preprocessing.classification import ClassificationPreprocessOptions

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def preprocessing(short_side=24, crop=16):
    return ClassificationPreprocessOptions(short_side, crop, MEAN, STD).module().eval()


def image(height, width):
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8)


@settings(max_examples=30)
@given(st.integers(1, 90), st.integers(1, 90))
def test_it_is_torchvisions_usual_evaluation(height, width):
    given = image(height, width)
    usual = v2.Compose(
        [v2.Resize(24), v2.CenterCrop(16), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    )
    torch.testing.assert_close(preprocessing()([given])[0], usual(given), atol=1e-6, rtol=1e-6)


def test_images_of_all_sizes_become_one_batch():
    batch = preprocessing()([image(16, 16), image(10, 70), image(100, 30)])
    assert batch.shape == (3, 3, 16, 16)
    assert batch.dtype == torch.float32


def test_resizing_brings_the_shorter_side_to_its_length():
    assert preprocessing().resized(image(48, 96), 24).shape == (3, 24, 48)
    same = image(24, 31)
    assert preprocessing().resized(same, 24) is same


@settings(max_examples=30)
@given(st.integers(1, 90), st.integers(1, 90))
def test_an_image_is_resized_to_a_fixed_size_as_a_whole(height, width):
    given, options = image(height, width), ClassificationPreprocessOptions(mean=MEAN, std=STD, size=[24, 16])
    usual = v2.Compose([v2.Resize((24, 16)), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)])
    torch.testing.assert_close(options.module().eval()([given])[0], usual(given), atol=1e-6, rtol=1e-6)
    assert options.module().loader_size(height, width) == (24, 16)


@pytest.mark.parametrize(("size", "message"), [([24], r"size=\[24\]: give height and width"), ([0, 9], "at least 1")])
def test_a_fixed_size_that_is_none_is_refused(size, message):
    with pytest.raises(ConfigError, match=message):
        ClassificationPreprocessOptions(size=size)


@pytest.mark.parametrize(("short_side", "crop"), [(15, 16), (16, 0), (0, 0)])
def test_a_crop_outside_the_image_is_refused(short_side, crop):
    with pytest.raises(ConfigError, match=r"^crop="):
        ClassificationPreprocessOptions(short_side, crop)


def test_float_images_are_refused():
    with pytest.raises(TypeError, match="uint8"):
        preprocessing()([torch.rand(3, 24, 24)])


def test_statistics_are_no_part_of_the_weights():
    assert not preprocessing().state_dict()
