"""Checks of files and folders. File names in annotations must not lead outside the dataset's folder."""

import functools
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from visionkit.errors import DataError
from visionkit.text import format_list

MAX_LISTED = 5


def require_folder(root: Path | None, user: str) -> Path:
    """Return `root` if it is an existing folder.

    Args:
        root: the folder; None if it is not set.
        user: what needs the folder, for the message.

    Raises:
        DataError: it is not set or does not exist.
    """
    if root is None:
        raise DataError(f"{user} needs data.root, the folder of the dataset")
    if not root.is_dir():
        raise DataError(f"the data folder {root} does not exist; set data.root=... or run: visionkit data download")
    return root


def require_file(path: Path) -> Path:
    """Return `path` if it is an existing file.

    Raises:
        DataError: it does not exist.
    """
    if not path.is_file():
        raise DataError(f"the annotation file {path} does not exist")
    return path


def resolve_inside(folder: Path, names: Iterable[str], source: Path) -> list[Path]:
    """Return the paths of file names that are relative to a folder.

    Args:
        folder: folder of the files.
        names: relative file names.
        source: file that lists the names, for the message.

    Raises:
        DataError: a name is absolute or leads outside the folder, possibly through a link.
    """
    names = list(names)
    for index in find_outside(folder, names)[:1]:
        raise DataError(f"{source}: the file name {names[index]!r} is outside {folder}")
    return [folder / name for name in names]


def find_outside(folder: Path, names: Sequence[str]) -> list[int]:
    """Return the indices of names that are absolute or lead outside `folder`, possibly through a link."""
    top = folder.resolve()

    @functools.cache
    def stays_inside(path: str) -> bool:
        return Path(path).resolve().is_relative_to(top)

    def is_inside(name: str) -> bool:
        if os.path.isabs(name) or "\0" in name:
            return False
        path = os.path.join(folder, name)
        # Resolving a path is slow: only the folder is resolved, once, unless the last part can lead elsewhere itself.
        leads_elsewhere = os.path.islink(path) or os.path.basename(path) in ("", ".", "..")
        return stays_inside(path if leads_elsewhere else os.path.dirname(path))

    return [index for index, name in enumerate(names) if not is_inside(name)]


def check_files_exist(paths: Sequence[Path], source: Path) -> None:
    """Raise DataError that lists the missing files, if there are any; `source` is the file that lists the paths."""
    missing = [str(paths[index]) for index in find_missing(paths)]
    if missing:
        raise DataError(f"{source}: {len(missing)} images are missing: {format_list(missing, MAX_LISTED)}")


def find_missing(paths: Sequence[Path]) -> list[int]:
    """Return the indices of missing files. Each folder is listed once, which is faster than a check per file."""
    present: dict[Path, set[str]] = {}
    for folder in {path.parent for path in paths}:
        present[folder] = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    return [index for index, path in enumerate(paths) if path.name not in present[path.parent]]


def check_unique(values: Sequence[object], kind: str, source: Path) -> None:
    """Raise DataError that lists repeated values, if there are any.

    Args:
        values: the values.
        kind: what they are, for the message.
        source: file that lists the values, for the message.
    """
    repeated = sorted(str(value) for value, count in Counter(values).items() if count > 1)
    if repeated:
        raise DataError(f"{source}: {len(repeated)} {kind} occur more than once: {format_list(repeated, MAX_LISTED)}")
