import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from visionkit.data.datasets.shapes import Shapes
from visionkit.data.stats.color_statistics import rgb_principal_axes, sample_pixels

pixels = hnp.arrays(np.uint8, st.tuples(st.integers(1, 30), st.just(3)))


@given(pixels)
def test_axes_are_orthonormal_and_put_the_covariance_together_again(pixels):
    eigenvalues, axes = rgb_principal_axes(pixels)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-9)
    assert (np.diff(eigenvalues) <= 0).all()
    assert (eigenvalues >= 0).all()
    covariance = np.cov(pixels / 255, rowvar=False, bias=True)
    np.testing.assert_allclose(axes.T @ np.diag(eigenvalues) @ axes, covariance, atol=1e-9)


@given(pixels)
def test_the_order_of_the_pixels_changes_no_sign(pixels):
    _, axes = rgb_principal_axes(pixels)
    assert (axes[np.arange(3), np.abs(axes).argmax(axis=1)] > 0).all()


def test_images_of_one_hue_vary_along_it():
    brightness = np.arange(0, 101, dtype=np.uint8)[:, None]
    eigenvalues, axes = rgb_principal_axes(brightness * np.array([[2, 1, 0]], np.uint8))
    np.testing.assert_allclose(axes[0], np.array([2, 1, 0]) / 5**0.5, atol=1e-9)
    np.testing.assert_allclose(eigenvalues, [5 * brightness.var() / 255**2, 0, 0], atol=1e-9)


def test_the_sample_repeats_by_seed_and_is_as_large_as_asked():
    reader = Shapes(split="train", count=6, size=24)
    first = sample_pixels(reader, images=4, per_image=5)
    assert first.shape == (20, 3)
    np.testing.assert_array_equal(first, sample_pixels(reader, images=4, per_image=5))
    assert not np.array_equal(first, sample_pixels(reader, images=4, per_image=5, seed=1))
    assert len(sample_pixels(reader, per_image=2)) == 12
