import numpy as np
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torchvision.transforms.v2 import functional as transforms

from visionkit.data.transforms.resize import resize_image

sides = st.integers(1, 60)


@given(sides, sides, sides, sides, st.integers(0, 99))
def test_pixels_are_those_of_evaluation(height, width, new_height, new_width, seed):
    assume((new_height, new_width) != (1, 1))  # torch 2.15 cannot resize a [3, H, W] tensor to a single pixel
    image = np.random.default_rng(seed).integers(0, 256, (height + 2, width + 2, 3), np.uint8)[1:-1, 1:-1]
    resized = resize_image(image, new_height, new_width)
    tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
    expected = transforms.resize(tensor, [new_height, new_width], antialias=True)
    assert resized.dtype == np.uint8
    np.testing.assert_array_equal(resized, expected.numpy().transpose(1, 2, 0))


def test_the_result_needs_no_copying():
    assert resize_image(np.zeros((40, 50, 3), np.uint8), 20, 30).flags.c_contiguous


def test_a_single_pixel_is_the_mean():
    assert resize_image(np.array([[[0, 10, 20]], [[2, 20, 40]]], np.uint8), 1, 1).tolist() == [[[1, 15, 30]]]
