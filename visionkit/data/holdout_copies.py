"""Groups of near-duplicate images, for a holdout of images whose file names tell no groups."""

import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visionkit.data.holdout_groups import MIN_GROUPS, Groups, covers_classes
from visionkit.data.io.images import read_image
from visionkit.data.stats.connected import connect
from visionkit.data.stats.image_descriptors import ORIENTATIONS, SIDE, describe, gray_thumbnail, orient
from visionkit.data.stats.image_overlap import best_correlation, copy_threshold, keep_details
from visionkit.data.stats.similar_pairs import similar_pairs
from visionkit.errors import DataError

logger = logging.getLogger("visionkit")

Indices = NDArray[np.int64]

MAX_IMAGES, MAX_BYTES = 5_000, 300_000_000
"""Largest dataset, as the number of images and the size of their files, of which all images are read."""

SIMILAR, MOST = 0.85, 4
"""Cosine of two descriptors from which two images are compared in detail, and how many others each is compared with."""

LARGEST_SHARE = 0.5
"""A group that is a larger part of the images is not one: the images all look alike."""

FLIPPED = ORIENTATIONS // 2


def find_copies(paths: Sequence[Path], labels: Indices) -> Groups | None:
    """Return groups of images that are encoded, resized, mirrored, brightened or slightly shifted copies of another.

    All images are read. Of more than `MAX_IMAGES` images or `MAX_BYTES` bytes, none is read, which is logged.

    Args:
        paths: path of each image.
        labels: int64 [N], class of each image; -1 for images without a single class.

    Returns:
        The groups, most of which have one image; None if there are no copies, or if fewer than four groups, or one for
        a class, would remain.
    """
    if len(paths) < 2 or not _is_small(paths):
        return None
    groups = connect(_pairs(paths), len(paths))
    sizes = np.bincount(groups)
    usable = MIN_GROUPS <= len(sizes) < len(paths) and sizes.max() <= LARGEST_SHARE * len(paths)
    if not usable or not covers_classes(groups, labels):
        return None
    return Groups(groups, f"groups, of which {int((sizes > 1).sum())} are of near-duplicates")


def _is_small(paths: Sequence[Path]) -> bool:
    """Return whether the images can be read in seconds; otherwise log that they are not compared."""
    total = sum(path.stat().st_size for path in paths) if len(paths) <= MAX_IMAGES else None
    if total is not None and total <= MAX_BYTES:
        return True
    size = f"{len(paths)} images" if total is None else f"{total / 1e6:.0f} MB of images"
    logger.info(
        "val: the file names tell no groups, and %s are too many to look for near-duplicates; set data.holdout.groups "
        "if images belong together, or to none", size,
    )  # fmt: skip
    return False


def _pairs(paths: Sequence[Path]) -> Indices:
    """Return the pairs of near-duplicates, int64 [P, 2]."""
    logger.info("val: looking for near-duplicates among %d images, which must not be held out alone", len(paths))
    with ThreadPoolExecutor() as pool:
        read = list(pool.map(_read, paths))
    thumbnails, sides = np.stack([thumbnail for thumbnail, _ in read]), [side for _, side in read]
    turned = [thumbnails, orient(thumbnails, FLIPPED)]
    candidates = similar_pairs(describe(thumbnails), [describe(each) for each in turned], SIMILAR, MOST)
    details = [[keep_details(thumbnail) for thumbnail in each] for each in turned]

    def is_copy(first: int, second: int, variant: int) -> bool:
        least = copy_threshold(min(sides[first], sides[second]))
        return best_correlation(details[0][first], details[variant][second], least) >= least

    rows = list(zip(*(column.tolist() for column in candidates[:3]), strict=True))
    with ThreadPoolExecutor() as pool:
        found = list(pool.map(lambda row: is_copy(*row), rows))
    pairs = [row[:2] for row, is_found in zip(rows, found, strict=True) if is_found]
    return np.array(pairs, np.int64).reshape(-1, 2)


def _read(path: Path) -> tuple[NDArray[np.uint8], int]:
    """Return the thumbnail and the shorter side of an image; a black thumbnail if it is unreadable."""
    try:
        image = read_image(path)
    except DataError:  # raised again when the image is asked for
        return np.zeros((SIDE, SIDE), np.uint8), 0
    return gray_thumbnail(image), min(image.shape[:2])
