"""What the formats with one table of objects share: numbers in cells, and images with and without rows."""

import math
from collections.abc import Sequence
from typing import Literal

from visionkit.data.io.image_index import ImageIndex
from visionkit.errors import DataError
from visionkit.text import shorten

UnlistedPolicy = Literal["skip", "empty"]
"""What images of the folder without rows are: left out and counted, or images without objects."""

UNLISTED_REASONS: dict[UnlistedPolicy, str] = {
    "skip": "images of the folder without rows left out",
    "empty": "images of the folder without rows, taken as images without objects",
}


def parse_number(text: str, column: str, place: str) -> float:
    """Return the number in a cell.

    Raises:
        DataError: it is not a finite number; the message has `column` and `place`.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f"{place}: {column} is {shorten(text)}, not a finite number")
    return number


def with_unlisted(names: Sequence[str], index: ImageIndex, policy: UnlistedPolicy, report: dict[str, int]) -> list[str]:
    """Return the names of the images of a dataset, and count those that no row names.

    Args:
        names: names of the images that rows name.
        index: the images of the folder.
        policy: what the other images of the folder are.
        report: counts by reason, which are added to.
    """
    listed = set(names)
    others = [name for name in index.names if name not in listed]
    if others:
        report[UNLISTED_REASONS[policy]] = len(others)
    return [*names, *others] if policy == "empty" else list(names)
