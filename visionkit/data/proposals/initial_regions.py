"""Initial regions of selective search: segments by Felzenszwalb and their features for the similarities."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from visionkit.data.io.images import ImageArray
from visionkit.errors import VisionkitError

COLOR_BINS = 25
ORIENTATIONS = 8
TEXTURE_BINS = 10
SMOOTHING = 0.8
"""Sigma in pixels of the Gaussian filter before segmentation (Uijlings et al. 2013, section 5)."""
DERIVATIVE_SIGMA = 1.0
"""Sigma in pixels of the Gaussian derivatives for the texture (section 3.2)."""
MAX_DERIVATIVE = 100.0
"""Upper limit of the last texture bin, in gray values per pixel; the sharpest edge has a derivative of about 90."""


@dataclass
class Regions:
    """R regions of one image.

    Attributes:
        sizes: float64 [R], number of pixels.
        boxes: int64 [R, 4], xyxy, pixel edges.
        colors: float32 [R, 25 C], color histograms; each row sums to 1.
        textures: float32 [R, 80 C], texture histograms; each row sums to 1.
        neighbors: int64 [pairs, 2], pairs of touching regions, each pair once.
    """

    sizes: NDArray[np.float64]
    boxes: NDArray[np.int64]
    colors: NDArray[np.float32]
    textures: NDArray[np.float32]
    neighbors: NDArray[np.int64]


@dataclass
class PixelBins:
    """Histogram bins of each pixel of an image, which are independent of the segmentation.

    Attributes:
        colors: uint8 [C, H W], color bins in 0..24.
        textures: uint8 [8 C, H W], texture bins in 0..9.
    """

    colors: NDArray[np.uint8]
    textures: NDArray[np.uint8]


def segment(image: ImageArray, scale: float) -> NDArray[np.int64]:
    """Segment an image by the method of Felzenszwalb & Huttenlocher 2004.

    Args:
        image: uint8 [H, W, C].
        scale: k; a larger value gives fewer segments. It is also the minimum size of a segment in pixels, as in the
            authors' code.

    Returns:
        int64 [H, W], index of each pixel's segment, 0..R-1.

    Raises:
        VisionkitError: scikit-image is not installed.
    """
    try:
        from skimage.segmentation import felzenszwalb
    except ImportError as error:
        raise VisionkitError(
            "selective search needs scikit-image, of the extra \"proposals\": pip install -e '.[proposals]'\n"
            "or give the proposals as a file: data.proposals.file"
        ) from error
    labels: NDArray[np.int64] = felzenszwalb(image, scale=scale, sigma=SMOOTHING, min_size=int(scale))
    return labels


def compute_bins(image: ImageArray) -> PixelBins:
    """Compute the bins of the colors and of the Gaussian derivatives in eight directions; image uint8 [H, W, C]."""
    channels = [np.ascontiguousarray(image[..., channel]) for channel in range(image.shape[2])]
    colors = [(channel.astype(np.uint16) * COLOR_BINS // 256).astype(np.uint8) for channel in channels]
    textures = [_derivative_bins(channel) for channel in channels]
    return PixelBins(np.stack(colors).reshape(len(channels), -1), np.concatenate(textures))


def _derivative_bins(channel: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the bins [8, H W] of the positive part of the derivative in each direction."""
    smooth = cv2.GaussianBlur(channel.astype(np.float32), (0, 0), DERIVATIVE_SIGMA)
    across, down = (cv2.Sobel(smooth, cv2.CV_32F, *order, ksize=1, scale=0.5) for order in ((1, 0), (0, 1)))
    angles = 2 * np.pi * np.arange(ORIENTATIONS, dtype=np.float32) / ORIENTATIONS
    found = np.cos(angles)[:, None] * across.reshape(1, -1) + np.sin(angles)[:, None] * down.reshape(1, -1)
    return (found * (TEXTURE_BINS / MAX_DERIVATIVE)).clip(0, TEXTURE_BINS - 1).astype(np.uint8)


def measure_regions(labels: NDArray[np.int64], bins: PixelBins) -> Regions:
    """Compute the features of segments.

    Args:
        labels: int64 [H, W], index of each pixel's segment, 0..R-1; each index occurs.
        bins: histogram bins of the pixels of the same image.
    """
    count, flat = int(labels.max()) + 1, labels.ravel()
    sizes = np.bincount(flat, minlength=count)
    return Regions(
        sizes.astype(np.float64),
        _boxes(labels, count),
        _histograms(flat, bins.colors, COLOR_BINS, count),
        _histograms(flat, bins.textures, TEXTURE_BINS, count),
        _touching(labels, count),
    )


def _histograms(flat: NDArray[np.int64], values: NDArray[np.uint8], bins: int, count: int) -> NDArray[np.float32]:
    """Return the concatenated histograms [R, kinds * bins] of each region; each row sums to 1."""
    first = flat * bins
    found = [np.bincount(first + kind, minlength=count * bins).reshape(count, bins) for kind in values]
    table = np.concatenate(found, axis=1).astype(np.float32)
    return table / table.sum(axis=1, keepdims=True)


def _boxes(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the bounding box of each region.

    Pixel positions are assigned in ascending and descending order, so the last assignment is the region's extreme.
    """
    height, width = labels.shape
    boxes = np.zeros((count, 4), np.int64)
    rows, columns = np.repeat(np.arange(height), width), np.repeat(np.arange(width), height)
    by_rows, by_columns = labels.ravel(), labels.T.ravel()
    # If an index occurs several times, NumPy keeps the last value.
    boxes[by_columns[::-1], 0], boxes[by_rows[::-1], 1] = columns[::-1], rows[::-1]
    boxes[by_columns, 2], boxes[by_rows, 3] = columns + 1, rows + 1
    return boxes


def _touching(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the pairs of regions that touch, also at a corner, because segments are joined across corners too."""
    sides = [
        (labels[:, :-1], labels[:, 1:]),
        (labels[:-1], labels[1:]),
        (labels[:-1, :-1], labels[1:, 1:]),
        (labels[:-1, 1:], labels[1:, :-1]),
    ]
    low = np.concatenate([np.minimum(one, other).ravel() for one, other in sides])
    high = np.concatenate([np.maximum(one, other).ravel() for one, other in sides])
    codes = np.unique((low * count + high)[low != high])
    return np.stack([codes // count, codes % count], axis=1)
