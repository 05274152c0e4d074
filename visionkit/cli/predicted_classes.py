"""Predicted class probabilities as CSV, from any program."""

import logging
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visionkit.cli.image_names import ImageNames
from visionkit.data.io.csv_rows import CsvRow, read_csv_columns, read_csv_header
from visionkit.errors import DataError
from visionkit.text import format_list

logger = logging.getLogger("visionkit")

IMAGE = "image"
"""Column with the file name of the image."""

TOLERANCE = 1e-3
"""Difference from 1 that the sum of the probabilities of one image may have."""

MAX_LISTED = 3
"""Largest number of missing images that are named."""


def read_predicted_classes(
    path: Path, names: Sequence[Path], class_names: Sequence[str], multi_label: bool
) -> NDArray[np.float32]:
    """Return the probabilities of each image, float32 [I, K]. Warn of columns that are not used.

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
    unused = [name for name in read_csv_header(path) if name not in (IMAGE, *class_names)]
    if unused:
        logger.warning("%s: no class of the card, and not used: the columns %s", path, format_list(unused))
    images = ImageNames(names)
    found = np.full((len(names), len(class_names)), np.nan, np.float32)
    for row in rows:
        index = _image_of(row, path, images)
        if not np.isnan(found[index]).any():
            raise DataError(f"{path}:{row.line}: a second row for {row.cells[0]}")
        found[index] = _probabilities(row, path, class_names, multi_label)
    missing = [name.name for name, values in zip(names, found, strict=True) if np.isnan(values).any()]
    if missing:
        raise DataError(
            f"{path} has no row for {len(missing)} of {len(names)} images: {', '.join(missing[:MAX_LISTED])} ..."
        )
    return found


def _image_of(row: CsvRow, path: Path, images: ImageNames) -> int:
    try:
        return images.index(row.cells[0])
    except LookupError as error:
        raise DataError(f"{path}:{row.line}: {row.cells[0]} {error}") from error


def _probabilities(row: CsvRow, path: Path, class_names: Sequence[str], multi_label: bool) -> list[float]:
    values = []
    for name, cell in zip(class_names, row.cells[1:], strict=True):
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if not 0 <= value <= 1:
            function = "sigmoid" if multi_label else "softmax"
            raise DataError(
                f"{path}:{row.line}: {name} is {cell!r}, and must be a probability from 0 to 1\n"
                f"apply a {function} to the outputs of the network, if these are logits"
            )
        values.append(value)
    if not multi_label and abs(sum(values) - 1) > TOLERANCE:
        raise DataError(f"{path}:{row.line}: the probabilities add up to {sum(values):.4g}, and must add up to 1")
    return values
