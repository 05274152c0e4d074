"""What happens to image files that cannot be read, the same for every format that has files."""

import functools
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from visionkit.data.io.images import read_image
from visionkit.errors import DataError

logger = logging.getLogger("visionkit")

BadFiles = Literal["raise", "skip"]

MOST_NAMED = 5


def readable(
    folder: Path,
    names: Sequence[str],
    policy: BadFiles,
    report: dict[str, int],
    read: Callable[[Path], object] = read_image,
    what: str = "images",
) -> NDArray[np.bool_]:
    """Which image files are to be kept.

    Under `raise` nothing is read here, for a large set would take minutes: a bad file raises when its image is asked
    for, and `visionkit data check` finds them all beforehand. `skip` has to read every image once to keep its
    promise, which takes as long as `data check`.

    Args:
        folder: where the images lie.
        names: file names relative to `folder`.
        policy: raise or skip.
        report: counts by reason, added to.
        read: reads a file, or raises DataError.
        what: what to call the files in messages.

    Returns:
        bool [names].
    """
    if policy == "raise":
        return np.ones(len(names), bool)
    logger.info("reading %d %s below %s once, because on_bad_file is skip", len(names), what, folder)
    with ThreadPoolExecutor() as pool:
        problems = list(pool.map(functools.partial(_problem, read), (folder / name for name in names)))
    bad = [problem for problem in problems if problem is not None]
    if bad:
        report[f"{what} that cannot be read left out"] = len(bad)
        more = f"\n  and {len(bad) - MOST_NAMED} more" if len(bad) > MOST_NAMED else ""
        logger.warning("%d %s are left out:\n  %s%s", len(bad), what, "\n  ".join(bad[:MOST_NAMED]), more)
    return np.array([problem is None for problem in problems], bool)


def _problem(read: Callable[[Path], object], path: Path) -> str | None:
    """What is wrong with a file, or None."""
    try:
        read(path)
    except DataError as error:
        return str(error).splitlines()[0]
    return None
