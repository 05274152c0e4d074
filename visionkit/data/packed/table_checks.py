"""Checks of all values of the tables of a packed split, when it is opened."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visionkit.errors import DataError

CHECKED_IMAGES = 1 << 16
"""Number of images whose objects are checked at once, so that the check takes little memory."""


def check_tables(tables: Mapping[str, NDArray[Any]], num_classes: int, folder: Path) -> None:
    """Check that the tables fit each other, and that no label, size, box or area is impossible.

    Args:
        tables: the tables by name.
        num_classes: number of classes.
        folder: their folder, for messages.

    Raises:
        DataError: they do not fit, or a value is impossible.
    """
    images, objects = tables["images"], tables["objects"]
    for name, rows in {"objects": images, "tags": images, "texts": images, "masks": objects}.items():
        if not _cover(rows[f"{name}_end"], len(tables[name])):
            raise DataError(f"{folder}: the table {name} does not fit the others")
    _check_labels(tables["tags"], 0, num_classes, folder)
    first = 0
    for start in range(0, len(images), CHECKED_IMAGES):
        rows = images[start : start + CHECKED_IMAGES]
        end = int(rows["objects_end"][-1])
        _check_images(rows, num_classes, folder)
        _check_objects(objects[first:end], rows, first, num_classes, folder)
        first = end


def are_inside(boxes: NDArray[np.float32], sizes: NDArray[Any]) -> bool:
    """Return whether boxes, xyxy, have an area and lie inside of images with these (height, width)."""
    return bool(
        (boxes[:, :2] >= 0).all() and (boxes[:, 2:] > boxes[:, :2]).all() and (boxes[:, 2:] <= sizes[:, ::-1]).all()
    )


def _check_images(rows: NDArray[Any], num_classes: int, folder: Path) -> None:
    if (rows["height"] < 1).any() or (rows["width"] < 1).any():
        raise DataError(f"{folder}: an image has no pixels")
    _check_labels(rows["label"], -1, num_classes, folder)


def _check_objects(objects: NDArray[Any], images: NDArray[Any], first: int, num_classes: int, folder: Path) -> None:
    """Check the objects of successive images, whose first object has the number `first` in the table."""
    _check_labels(objects["label"], 0, num_classes, folder)
    sizes = np.stack([images["height"], images["width"]], axis=1)
    counts = np.diff(images["objects_end"], prepend=first)
    if not are_inside(objects["box"], np.repeat(sizes, counts, axis=0)):
        raise DataError(f"{folder}: an object has a box without area, outside of its image, or with NaN")
    if not (np.isfinite(objects["area"]).all() and (objects["area"] >= 0).all()):
        raise DataError(f"{folder}: an object has an area that is negative or not finite")


def _cover(ends: NDArray[Any], length: int) -> bool:
    """Return whether parts with these ends cover a table of `length` rows without gaps."""
    if not len(ends):
        return length == 0
    return bool(ends[0] >= 0 and ends[-1] == length and (ends[1:] >= ends[:-1]).all())


def _check_labels(labels: NDArray[Any], lowest: int, num_classes: int, folder: Path) -> None:
    if len(labels) and not (labels.min() >= lowest and labels.max() < num_classes):
        raise DataError(f"{folder}: a table has labels outside 0 to {num_classes - 1}")
