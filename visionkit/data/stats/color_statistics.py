"""Principal components of the colors of a dataset."""

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import VisionDataset


def rgb_principal_axes(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the principal components of RGB values (Krizhevsky 2012, section 4.1).

    Args:
        pixels: uint8 [N, 3], N > 0.

    Returns:
        Eigenvalues [3] of the covariance of the values scaled to 0..1, in descending order, and axes [3, 3]. Row i of
        the axes is the unit vector of eigenvalue i; its component with the largest absolute value is positive.
    """
    covariance = np.cov(pixels / 255, rowvar=False, bias=True)
    eigenvalues, columns = np.linalg.eigh(covariance)
    axes = columns.T[::-1]
    largest = np.abs(axes).argmax(axis=1)
    signs = np.sign(axes[np.arange(3), largest])
    return eigenvalues[::-1].clip(min=0), axes * signs[:, None]


def sample_pixels(dataset: VisionDataset, images: int = 2000, per_image: int = 200, seed: int = 0) -> NDArray[np.uint8]:
    """Sample pixels uniformly from uniformly sampled images; the same seed gives the same pixels.

    Args:
        dataset: dataset of the images.
        images: maximum number of images to decode.
        per_image: number of pixels per image, drawn with replacement.
        seed: seed of the selection.

    Returns:
        uint8 [N, 3], RGB.
    """
    random = np.random.default_rng(seed)
    chosen = np.sort(random.permutation(len(dataset))[:images])
    drawn = [random.choice(dataset[int(index)].image.reshape(-1, 3), per_image) for index in chosen]
    return np.concatenate(drawn)
