"""Predicted class probabilities as CSV, from any program."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visionkit.data.io.csv_rows import CsvRow, read_csv_columns
from visionkit.errors import DataError

IMAGE = "image"
"""Column with the file name of the image."""

TOLERANCE = 1e-3
"""Difference from 1 that the sum of the probabilities of one image may have."""

MAX_LISTED = 3
"""Largest number of missing images that are named."""


def read_predicted_classes(
    path: Path, names: Sequence[Path], class_names: Sequence[str], multi_label: bool
) -> NDArray[np.float32]:
    """Return the probabilities of each image, float32 [I, K].

    Args:
        path: a CSV file with the column `image` and one column per class.
        names: path of each image; the file has its name or the end of its path.
        class_names: K names.
        multi_label: whether an image can have several classes. Otherwise its probabilities must add up to 1.

    Raises:
        DataError: a column is missing, an image is missing, unknown or there twice, or a probability is wrong; the
            message has the line.
    """
    rows = read_csv_columns(path, [IMAGE, *class_names])
    places = {name: index for index, name in enumerate(names)}
    by_name: dict[str, list[int]] = {}
    for name, index in places.items():
        by_name.setdefault(name.name, []).append(index)
    found = np.full((len(names), len(class_names)), np.nan, np.float32)
    for row in rows:
        index = _image_of(row, path, names, by_name)
        if not np.isnan(found[index]).any():
            raise DataError(f"{path}:{row.line}: a second row for {row.cells[0]}")
        found[index] = _probabilities(row, path, class_names, multi_label)
    missing = [str(name.name) for name, index in places.items() if np.isnan(found[index]).any()]
    if missing:
        raise DataError(
            f"{path} has no row for {len(missing)} of {len(names)} images: {', '.join(missing[:MAX_LISTED])} ..."
        )
    return found


def _image_of(row: CsvRow, path: Path, names: Sequence[Path], by_name: dict[str, list[int]]) -> int:
    text = row.cells[0].replace("\\", "/")
    candidates = by_name.get(text.rpartition("/")[2], [])
    fitting = [index for index in candidates if f"/{names[index].as_posix()}".endswith(f"/{text.lstrip('/')}")]
    if len(fitting) != 1:
        reason = "is not in the split" if not fitting else "is the name of several images: give their folders too"
        raise DataError(f"{path}:{row.line}: {row.cells[0]} {reason}")
    return fitting[0]


def _probabilities(row: CsvRow, path: Path, class_names: Sequence[str], multi_label: bool) -> list[float]:
    values = []
    for name, cell in zip(class_names, row.cells[1:], strict=True):
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if not 0 <= value <= 1:
            raise DataError(f"{path}:{row.line}: {name} is {cell!r}, and must be a probability from 0 to 1")
        values.append(value)
    if not multi_label and abs(sum(values) - 1) > TOLERANCE:
        raise DataError(f"{path}:{row.line}: the probabilities add up to {sum(values):.4g}, and must add up to 1")
    return values
