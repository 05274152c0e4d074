"""In which directions the colors of a data set vary."""

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import VisionDataset


def rgb_principal_axes(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Principal components of RGB values (Krizhevsky 2012, section 4.1).

    Args:
        pixels: uint8 [N, 3], N > 0.

    Returns:
        Eigenvalues [3] of the covariance of values in 0..1, falling, and axes [3, 3]: row i is the unit vector
        of eigenvalue i, its largest component positive.
    """
    covariance = np.cov(pixels / 255, rowvar=False, bias=True)
    eigenvalues, columns = np.linalg.eigh(covariance)
    axes = columns.T[::-1]
    largest = np.abs(axes).argmax(axis=1)
    signs = np.sign(axes[np.arange(3), largest])
    return eigenvalues[::-1].clip(min=0), axes * signs[:, None]


def sample_pixels(reader: VisionDataset, images: int = 2000, per_image: int = 200, seed: int = 0) -> NDArray[np.uint8]:
    """Pixels drawn evenly from images drawn evenly, the same ones for the same seed.

    Args:
        reader: where the images are.
        images: how many to decode at the most.
        per_image: pixels of each, drawn with replacement.
        seed: another seed draws others.

    Returns:
        uint8 [N, 3], RGB.
    """
    random = np.random.default_rng(seed)
    chosen = np.sort(random.permutation(len(reader))[:images])
    drawn = [random.choice(reader[int(index)].image.reshape(-1, 3), per_image) for index in chosen]
    return np.concatenate(drawn)
