import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from visionkit.data.stats.image_descriptors import gray_thumbnail
from visionkit.data.stats.image_overlap import best_correlation, keep_details


def scene(seed):
    """Discs and a gradient: the gradient is the same in all scenes."""
    random = np.random.default_rng(seed)
    image = np.linspace(0, 120, 160)[None, :, None].repeat(120, 0).repeat(3, 2).astype(np.uint8)
    for _ in range(25):
        center = tuple(int(side) for side in random.integers(0, [160, 120]))
        cv2.circle(image, center, int(random.integers(4, 16)), [int(value) for value in random.integers(0, 256, 3)], -1)
    return image


def correlation(one, other):
    return best_correlation(keep_details(gray_thumbnail(one)), keep_details(gray_thumbnail(other)), 0.99)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 0.2), st.floats(0, 1), st.floats(0, 1))
def test_a_crop_is_told_from_another_scene(seed, cut, across, down):
    image = scene(seed)
    top, left = round(120 * cut * down), round(160 * cut * across)
    part = image[top : top + round(120 * (1 - cut)), left : left + round(160 * (1 - cut))]
    assert correlation(image, part) > 0.8
    assert correlation(part, image) > 0.8
    assert correlation(image, scene(seed + 1)) < 0.75


def test_images_of_one_color_are_no_copies():
    plain = np.full((50, 60, 3), 80, np.uint8)
    assert correlation(plain, plain + 1) == -1
    assert correlation(plain, scene(0)) == -1
