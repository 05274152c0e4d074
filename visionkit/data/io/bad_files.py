"""Finding unreadable files, the same for every format that has files."""

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

BadFilePolicy = Literal["raise", "skip"]
"""What to do with unreadable files: raise DataError when one is read, or skip and count them at the start."""

MAX_LISTED = 5


def find_readable(
    folder: Path,
    names: Sequence[str],
    policy: BadFilePolicy,
    report: dict[str, int],
    read: Callable[[Path], object] = read_image,
    kind: str = "images",
) -> NDArray[np.bool_]:
    """Return which files to keep.

    With the policy `raise`, nothing is read here, because that would take minutes for a large dataset. An unreadable
    file raises DataError later, when its image is asked for; `visionkit data check` finds all of them. With the
    policy `skip`, every file is read once, which takes as long as `visionkit data check`.

    Args:
        folder: folder of the files.
        names: file names relative to `folder`.
        policy: raise or skip.
        report: counts by reason, which are added to.
        read: reads a file, or raises DataError.
        kind: what the files are, for messages.

    Returns:
        bool [names].
    """
    if policy == "raise":
        return np.ones(len(names), bool)
    logger.info("reading %d %s in %s once, because on_bad_file is skip", len(names), kind, folder)
    with ThreadPoolExecutor() as pool:
        problems = list(pool.map(functools.partial(_problem, read), (folder / name for name in names)))
    bad = [problem for problem in problems if problem is not None]
    if bad:
        report[f"unreadable {kind} skipped"] = len(bad)
        more = f"\n  and {len(bad) - MAX_LISTED} more" if len(bad) > MAX_LISTED else ""
        logger.warning("unreadable %s skipped: %d\n  %s%s", kind, len(bad), "\n  ".join(bad[:MAX_LISTED]), more)
    return np.array([problem is None for problem in problems], bool)


def _problem(read: Callable[[Path], object], path: Path) -> str | None:
    """Return why a file is unreadable; None if it is readable."""
    try:
        read(path)
    except DataError as error:
        return str(error).splitlines()[0]
    return None
