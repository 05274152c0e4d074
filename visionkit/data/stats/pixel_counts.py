"""Numbers of pixels of each class in the semantic masks of a dataset."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import VisionDataset
from visionkit.errors import DataError
from visionkit.ops.ignore import IGNORE

Counts = NDArray[np.int64]


class PixelCounts(NamedTuple):
    """Numbers of pixels in a dataset's masks by class, without ignored pixels.

    Attributes:
        counts: int64 [K], number of pixels of each class.
        out_of: int64 [K], number of pixels of all images in which the class occurs. Median-frequency balancing
            divides by it (Eigen & Fergus 2015, section 6.3.2; `ops.class_weights`).
    """

    counts: Counts
    out_of: Counts


def count_pixels(dataset: VisionDataset) -> PixelCounts:
    """Count the pixels of each class. Each mask is read once, and no image is read.

    Raises:
        DataError: a mask cannot be read, or contains a class that does not exist.
    """
    classes = len(dataset.class_names)
    counts, out_of = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
    for histogram in _histograms(dataset):
        known = histogram[:classes]
        counts += known
        out_of += known.sum() * (known > 0)
    return PixelCounts(counts, out_of)


def mask_histogram(mask: NDArray[np.uint8], classes: int, name: object) -> Counts:
    """Return the number of pixels of each value of a mask, int64 [256].

    Args:
        mask: uint8 [H, W], class of each pixel, 255 = ignore.
        classes: number of classes K; valid values are 0..K-1.
        name: name of the mask in messages.

    Raises:
        DataError: the mask contains another value; the message lists all values of the mask.
    """
    histogram = np.bincount(mask.ravel(), minlength=IGNORE + 1)
    if histogram[classes:IGNORE].any():
        found = ", ".join(map(str, np.flatnonzero(histogram)))
        raise DataError(f"the mask of {name} has the values {found}; the {classes} classes are 0 to {classes - 1}")
    return histogram


def _histograms(dataset: VisionDataset) -> Iterator[Counts]:
    """Yield the histogram of each mask; masks are decoded in threads, because decoding releases the GIL."""

    def of(index: int) -> Counts:
        mask = dataset.semantic(index)
        if mask is None:
            return np.zeros(IGNORE + 1, np.int64)
        return mask_histogram(mask, len(dataset.class_names), f"image {index}")

    with ThreadPoolExecutor() as pool:
        yield from pool.map(of, range(len(dataset)))
