from collections import Counter

import cv2
import numpy as np
import pytest

from tests.helpers.samples import AXES, gray, sample
from visionkit.data.datasets.shapes import Shapes
from visionkit.data.stats.color_statistics import rgb_principal_axes, sample_pixels
from visionkit.data.transforms.augmentation import Augmentation
from visionkit.data.transforms.imagenet import IMAGENET_EIGENVALUES, IMAGENET_EIGENVECTORS
from visionkit.data.transforms.resize import resize_image
from visionkit.errors import ConfigError


def shifts(count, **arguments):
    """Return the color shift of each of `count` gray images, [count, 3]."""
    augmentation = Augmentation([{"name": "PcaColorShift", **arguments}])
    augmentation.seed(0)
    images = [augmentation(gray(4, 4)).image.astype(int) - 100 for _ in range(count)]
    assert all((image == image[0, 0]).all() for image in images), "one color for all pixels"
    return np.array([image[0, 0] for image in images])


@pytest.mark.parametrize("size", [(50, 70), (70, 50), (60, 60)])
def test_scale_jitter_draws_the_short_side_evenly_and_keeps_proportions(size):
    augmentation = Augmentation([{"name": "ScaleJitter", "min_side": 30, "max_side": 34}])
    augmentation.seed(0)
    drawn = [augmentation(gray(*size)).size for _ in range(300)]
    counts = Counter(min(size) for size in drawn)
    assert counts.keys() == {30, 31, 32, 33, 34}
    assert min(counts.values()) > 35
    for height, width in drawn:
        assert height / width == pytest.approx(size[0] / size[1], abs=0.5 / 30)


def test_a_random_resized_crop_resizes_as_evaluation_does_unless_told_otherwise():
    given = sample(0)
    whole = {"name": "RandomResizedCrop", "size": [30, 40], "scale": [1, 1], "ratio": [4 / 3, 4 / 3]}
    expected = {
        "antialiased": (whole, resize_image(given.image, 30, 40)),
        "area": ({**whole, "area_for_downscale": "image"}, cv2.resize(given.image, (40, 30), interpolation=3)),
        "nearest": ({**whole, "interpolation": 0}, cv2.resize(given.image, (40, 30), interpolation=0)),
    }
    for step, image in expected.values():
        np.testing.assert_array_equal(Augmentation([step])(given).image, image)


def test_scale_jitter_moves_boxes_and_masks_with_the_image():
    given = sample(5)
    result = Augmentation([{"name": "ScaleJitter", "min_side": 120, "max_side": 120}], min_visibility=0)(given)
    assert result.size == (120, 160)
    np.testing.assert_allclose(result.annotation.boxes, 2 * given.annotation.boxes, atol=1e-3)
    np.testing.assert_array_equal(result.semantic, given.semantic.repeat(2, 0).repeat(2, 1))


def test_vggs_scale_jitter_then_crop_gives_the_crop():
    steps = [{"name": "ScaleJitter"}, {"name": "RandomCrop", "height": 224, "width": 224}]
    assert Augmentation(steps)(gray()).size == (224, 224)


def test_color_shift_draws_along_the_axes_as_far_as_their_eigenvalues():
    drawn = shifts(2000, sigma=0.1, **AXES)
    np.testing.assert_allclose(drawn.std(axis=0), [255 * 0.1 * 0.2, 255 * 0.1 * 0.1, 0], rtol=0.08)
    np.testing.assert_allclose(drawn.mean(axis=0), 0, atol=0.4)


def test_color_shift_takes_the_published_axes_of_imagenet():
    values, axes = np.array(IMAGENET_EIGENVALUES), np.array(IMAGENET_EIGENVECTORS)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=2e-3)
    covariance = np.cov(shifts(3000, sigma=1.0, statistics="imagenet", p=1.0), rowvar=False)
    first = np.linalg.eigh(covariance)[1][:, -1]
    assert abs(first @ axes[0]) == pytest.approx(1, abs=1e-3)
    assert covariance.trace() == pytest.approx((255 * values**2 * 255).sum(), rel=0.1)


def test_color_shift_stays_in_range_and_leaves_objects_alone():
    step = {"name": "PcaColorShift", "sigma": 50.0, **AXES}
    given = sample(4)
    result = Augmentation([step])(given)
    assert result.image.dtype == np.uint8
    np.testing.assert_array_equal(result.annotation.boxes, given.annotation.boxes)
    np.testing.assert_array_equal(result.semantic, given.semantic)


def test_color_shift_is_measured_once_on_the_training_images():
    reader = Shapes(split="train", count=5, size=24)
    augmentation = Augmentation([{"name": "PcaColorShift"}, {"name": "HorizontalFlip"}])
    with pytest.raises(ConfigError, match="statistics: imagenet"):
        augmentation(gray())
    augmentation.fit(reader)
    step = augmentation._transforms[0]
    values, axes = rgb_principal_axes(sample_pixels(reader))
    np.testing.assert_array_equal(step.directions, values[:, None] * axes)
    augmentation.fit(None)  # known by now: nothing is read
    assert augmentation(gray()).size == (50, 70)


def test_what_needs_no_measuring_reads_no_image():
    Augmentation([{"name": "PcaColorShift", "statistics": "imagenet"}, {"name": "HorizontalFlip"}]).fit(None)
