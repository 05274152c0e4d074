"""Small gray thumbnails of images and descriptors of their low frequencies, by which copies of an image are found.

The descriptor is the perceptual hash of the discrete cosine transform (Zauner 2010, "Implementation and Benchmarking of
Perceptual Image Hash Functions", section 3.2.1) before its coefficients are reduced to their signs. The cosine of
two descriptors separates copies from other images more clearly than the number of different signs.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SIDE = 64
"""Height and width of a thumbnail in pixels."""

FREQUENCIES = 8
"""Number of the lowest frequencies along each axis. The constant one is left out: it is the brightness."""

_TRANSFORMED = 32
"""Height and width in pixels of what is transformed."""

CROP = 0.8
"""Side of the windows whose descriptors are also searched, as a share of the image, so that cropped copies are found.
Without them, a copy without a fifth of the height and width often resembles another image more."""

ORIENTATIONS = 8
"""Number of rotations by 90 degrees, without and with a flip. The second half is flipped horizontally first."""


def gray_thumbnail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image, uint8 [H, W, 3] in RGB, as gray values [SIDE, SIDE]; its aspect ratio is not kept."""
    gray = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(gray, (SIDE, SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def orient(thumbnails: NDArray[np.generic], orientation: int) -> NDArray[np.generic]:
    """Return thumbnails [..., S, S] in one of `ORIENTATIONS`; 0 is the identity, and 4 the horizontal flip."""
    flipped = thumbnails[..., ::-1] if orientation >= ORIENTATIONS // 2 else thumbnails
    return np.rot90(flipped, orientation % 4, axes=(-2, -1))


def describe(thumbnails: NDArray[np.generic]) -> Floats:
    """Return descriptors of length 1 [N, 63] of square thumbnails [N, S, S]; zeros for images of one color.

    Example:
        >>> import numpy as np
        >>> from visionkit.data.stats.image_descriptors import describe
        >>> thumbnails = np.random.default_rng(0).integers(0, 256, (3, 64, 64), np.uint8)
        >>> brighter = np.minimum(thumbnails // 2 + 90, 255)
        >>> bool((np.einsum("nd,nd->n", describe(thumbnails), describe(brighter)) > 0.99).all())
        True
    """
    small = np.stack([_shrink(thumbnail) for thumbnail in thumbnails]) if len(thumbnails) else _empty()
    spectrum = _COSINES @ small @ _COSINES.T
    described = spectrum.reshape(len(small), FREQUENCIES**2)[:, 1:]
    norm = np.linalg.norm(described, axis=1, keepdims=True)
    return np.asarray(np.where(norm > 1e-3, described / np.maximum(norm, 1e-3), 0), np.float32)


def describe_windows(thumbnails: NDArray[np.generic]) -> list[Floats]:
    """Return the descriptors of nine overlapping windows of each thumbnail, [N, 63] for each window."""
    side = round(SIDE * CROP)
    offsets = (0, (SIDE - side) // 2, SIDE - side)
    return [describe(thumbnails[:, top : top + side, left : left + side]) for top in offsets for left in offsets]


def _shrink(thumbnail: NDArray[np.generic]) -> Floats:
    image = np.ascontiguousarray(thumbnail, np.float32)
    return np.asarray(cv2.resize(image, (_TRANSFORMED, _TRANSFORMED), interpolation=cv2.INTER_AREA), np.float32)


def _empty() -> Floats:
    return np.zeros((0, _TRANSFORMED, _TRANSFORMED), np.float32)


def _cosines() -> Floats:
    """Return the rows [FREQUENCIES, _TRANSFORMED] of the orthonormal discrete cosine transform (DCT-II)."""
    frequency, place = np.arange(FREQUENCIES)[:, None], np.arange(_TRANSFORMED)
    rows = np.cos(np.pi * frequency * (2 * place + 1) / (2 * _TRANSFORMED)) * np.sqrt(2 / _TRANSFORMED)
    rows[0] /= np.sqrt(2)
    return rows.astype(np.float32)


_COSINES = _cosines()
