import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from visionkit.data.stats.image_descriptors import (
    ORIENTATIONS,
    SIDE,
    describe,
    describe_windows,
    gray_thumbnail,
    orient,
)


def blobs(seed, height=90, width=120):
    """An image of smooth structure, as photographs have it."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 6)
    return ((smooth - smooth.min()) / np.ptp(smooth) * 255).astype(np.uint8)


def cosine(one, other):
    first, second = (describe(gray_thumbnail(image)[None])[0] for image in (one, other))
    return float(first @ second)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_changes_that_keep_the_content_keep_the_descriptor(seed):
    image = blobs(seed)
    encoded = cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 30])[1], 1)
    brighter = (image * 0.7 + 60).astype(np.uint8)
    smaller = cv2.resize(image, (60, 45), interpolation=cv2.INTER_AREA)
    assert min(cosine(image, changed) for changed in (encoded, brighter, smaller)) > 0.98
    assert cosine(image, blobs(seed + 1)) < 0.9


def test_the_length_is_one_and_zero_without_content():
    thumbnails = np.stack([gray_thumbnail(blobs(0)), np.full((SIDE, SIDE), 7, np.uint8)])
    assert np.linalg.norm(describe(thumbnails), axis=1) == pytest.approx([1, 0])
    assert describe(thumbnails[:0]).shape == (0, 63)


def test_the_orientations_are_all_different_and_form_a_group():
    image = np.arange(9).reshape(1, 3, 3)
    turned = [orient(image, orientation) for orientation in range(ORIENTATIONS)]
    assert len({one.tobytes() for one in turned}) == ORIENTATIONS
    assert (orient(image, 4) == image[:, :, ::-1]).all()
    again = {orient(one, orientation).tobytes() for one in turned for orientation in range(ORIENTATIONS)}
    assert len(again) == ORIENTATIONS


def test_a_crop_resembles_the_window_at_its_place():
    image = blobs(3, 128, 128)
    corner = describe(gray_thumbnail(image[:102, :102])[None])[0]
    cosines = [float(window[0] @ corner) for window in describe_windows(gray_thumbnail(image)[None])]
    assert int(np.argmax(cosines)) == 0
    assert cosines[0] > 0.97
