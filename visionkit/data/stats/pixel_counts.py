"""How many pixels of each class the masks of a data set have."""

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
    """Pixels of a data set's masks by class, without those to be ignored.

    Attributes:
        counts: int64 [K], pixels of each class.
        out_of: int64 [K], pixels of all images in which the class occurs: what median-frequency balancing divides
            by (Eigen & Fergus 2015, section 6.3.2; `ops.class_weights`).
    """

    counts: Counts
    out_of: Counts


def count_pixels(reader: VisionDataset) -> PixelCounts:
    """Count the pixels of each class; reads every mask once, no image.

    Raises:
        DataError: a mask cannot be read, or has a class that there is not.
    """
    classes = len(reader.class_names)
    counts, out_of = np.zeros(classes, np.int64), np.zeros(classes, np.int64)
    for histogram in _histograms(reader):
        known = histogram[:classes]
        counts += known
        out_of += known.sum() * (known > 0)
    return PixelCounts(counts, out_of)


def mask_histogram(mask: NDArray[np.uint8], classes: int, name: object) -> Counts:
    """Pixels of each value of a mask, int64 [256].

    Args:
        mask: uint8 [H, W], class of each pixel, 255 = ignore.
        classes: K; values are 0..K-1.
        name: what to call the mask in messages.

    Raises:
        DataError: there is another value; all values found are named.
    """
    histogram = np.bincount(mask.ravel(), minlength=IGNORE + 1)
    if histogram[classes:IGNORE].any():
        found = ", ".join(map(str, np.flatnonzero(histogram)))
        raise DataError(f"the mask of {name} has the values {found}; the {classes} classes are 0 to {classes - 1}")
    return histogram


def _histograms(reader: VisionDataset) -> Iterator[Counts]:
    """The histogram of each mask; decoding runs in threads, since it leaves Python's lock alone."""

    def of(index: int) -> Counts:
        mask = reader.semantic(index)
        if mask is None:
            return np.zeros(IGNORE + 1, np.int64)
        return mask_histogram(mask, len(reader.class_names), f"image {index}")

    with ThreadPoolExecutor() as pool:
        yield from pool.map(of, range(len(reader)))
