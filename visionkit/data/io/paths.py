"""File names from annotations, which must not lead out of the data set."""

import functools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from visionkit.errors import DataError
from visionkit.text import format_list

MOST_NAMED = 5


def existing_folder(root: Path | None, what: str) -> Path:
    """`root`, if it is a folder.

    Raises:
        DataError: it is not set or not there.
    """
    if root is None:
        raise DataError(f"{what} needs data.root, the folder of the data set")
    if not root.is_dir():
        raise DataError(f"the data folder {root} does not exist; set data.root=... or run: visionkit data download")
    return root


def existing_file(path: Path) -> Path:
    """`path`, if it is a file.

    Raises:
        DataError: it is not there.
    """
    if not path.is_file():
        raise DataError(f"there is no annotation file {path}")
    return path


def inside(folder: Path, names: Iterable[str], source: Path) -> list[Path]:
    """The paths that `names` mean below `folder`.

    Args:
        folder: where the images lie.
        names: relative file names.
        source: file the names come from, for messages.

    Raises:
        DataError: a name is absolute or leaves the folder, also through a link.
    """
    given = list(names)
    for index in leads_out(folder, given)[:1]:
        raise DataError(f"{source}: the file name {given[index]!r} leads out of {folder}")
    return [folder / name for name in given]


def leads_out(folder: Path, names: Sequence[str]) -> list[int]:
    """Which of `names` are absolute or leave `folder`, also through a link."""
    top = folder.resolve()

    @functools.cache
    def stays(path: str) -> bool:
        return Path(path).resolve().is_relative_to(top)

    def is_inside(name: str) -> bool:
        if os.path.isabs(name) or "\0" in name:
            return False
        path = os.path.join(folder, name)
        # Resolving is slow: the names of one folder share its answer, unless the last part leads on by itself.
        leads_on = os.path.islink(path) or os.path.basename(path) in ("", ".", "..")
        return stays(path if leads_on else os.path.dirname(path))

    return [index for index, name in enumerate(names) if not is_inside(name)]


def refuse_missing(paths: Sequence[Path], source: Path) -> None:
    """Raise DataError that lists the paths which are no files, if there are any."""
    absent = [str(paths[index]) for index in missing(paths)]
    if absent:
        raise DataError(f"{source}: {len(absent)} images are missing: {format_list(absent, MOST_NAMED)}")


def missing(paths: Sequence[Path]) -> list[int]:
    """Which of `paths` are not there; each folder is listed once, which is quicker than asking for each file."""
    present: dict[Path, set[str]] = {}
    for folder in {path.parent for path in paths}:
        present[folder] = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    return [index for index, path in enumerate(paths) if path.name not in present[path.parent]]


def refuse_duplicates(names: Sequence[object], what: str, source: Path) -> None:
    """Raise DataError that lists the values which occur more than once, if there are any."""
    seen: set[object] = set()
    twice = sorted({str(name) for name in names if name in seen or seen.add(name)})  # type: ignore[func-returns-value]
    if twice:
        raise DataError(f"{source}: {len(twice)} {what} occur more than once: {format_list(twice, MOST_NAMED)}")
