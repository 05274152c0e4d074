import numpy as np
import pytest
import torch
from PIL import Image

from visionkit.data.io.image_types import as_rgb
from visionkit.errors import DataError

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3)).astype(np.uint8)
GRAY = RGB[..., 0]


@pytest.mark.parametrize(
    "image",
    [
        RGB,
        Image.fromarray(RGB),
        torch.from_numpy(RGB).permute(2, 0, 1),
        torch.from_numpy(RGB).permute(2, 0, 1) / 255,
        RGB / 255,
    ],
)
def test_images_of_all_types_are_the_same_image(image):
    array = as_rgb(image, "a")
    assert array.dtype == np.uint8
    assert array.flags.c_contiguous
    assert array.flags.writeable
    assert not np.shares_memory(array, RGB)
    np.testing.assert_array_equal(array, RGB)


@pytest.mark.parametrize("image", [GRAY, GRAY[..., None], Image.fromarray(GRAY), torch.from_numpy(GRAY)[None]])
def test_gray_images_get_three_channels(image):
    np.testing.assert_array_equal(as_rgb(image, "a"), np.stack([GRAY] * 3, axis=-1))


@pytest.mark.parametrize(
    ("image", "message"),
    [
        ("a.jpg", "an image is a PIL image, an array or a tensor, not str"),
        (torch.zeros(5, 7), r"tensor \[C, H, W\] with 1 or 3 channels, not of shape \[5, 7\]"),
        (torch.zeros(4, 5, 7), r"not of shape \[4, 5, 7\]"),
        (RGB.transpose(2, 0, 1), r"array \[H, W, C\] with 1 or 3 channels, not of shape \[3, 5, 7\]"),
        (torch.zeros(3, 0, 7), r"not of shape \[3, 0, 7\]"),
        (
            torch.full((3, 5, 7), -1.5),
            r"a float image has values in 0..1, not -1.5..-1.5\nreturn the image before norm",
        ),
        (torch.full((3, 5, 7), float("nan")), "a float image has values in 0..1"),
        (torch.zeros(3, 5, 7, dtype=torch.int64), "an image has uint8 or float values, not int64"),
    ],
)
def test_other_images_are_refused(image, message):
    with pytest.raises(DataError, match=f"a: .*{message}"):
        as_rgb(image, "a")
