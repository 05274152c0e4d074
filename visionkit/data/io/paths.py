"""Checks of files and folders. File names in annotations must not lead outside the dataset's folder."""

import functools
import math
import os
import stat
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
    if not os.path.isdir(root):  # False also for a name that no folder can have
        raise DataError(f"the data folder {root} does not exist; set data.root=... or run: visionkit data download")
    return root


def require_existing(path: Path) -> Path:
    """Return `path` if it is an existing file or folder.

    Raises:
        DataError: it does not exist.
    """
    if not os.path.exists(path):  # False also for a name that no file can have
        raise DataError(f"the file or folder {path} does not exist")
    return path


def require_file(path: Path) -> Path:
    """Return `path` if it is an existing regular file, see `require_regular_file`."""
    require_regular_file(path, "annotation file")
    return path


def require_regular_file(path: Path, kind: str, max_bytes: float = math.inf) -> None:
    """Check that a path is a file with content on disk, or a link to one.

    Reading a pipe would wait forever, and reading a device such as /dev/zero never ends.

    Args:
        path: the file.
        kind: what it is, for messages ("image").
        max_bytes: largest allowed size.

    Raises:
        DataError: the file does not exist, is not a regular file, or is too large.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError as error:
        raise DataError(f"the {kind} {path} does not exist") from error
    except OSError as error:
        raise DataError(f"the {kind} {path} cannot be read: {error.strerror}") from error
    except ValueError as error:  # NUL, or half a surrogate pair
        raise DataError(f"the {kind} {str(path)!r} cannot be read: {error}") from error
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"the {kind} {path} is not a regular file; folders, pipes and devices cannot be read")
    if status.st_size > max_bytes:
        raise DataError(f"the {kind} {path} has {status.st_size} bytes; at most {max_bytes:.0f} are read")


def read_bytes(path: Path, kind: str, max_bytes: float = math.inf) -> bytes:
    """Return the content of a regular file; arguments and errors as in `require_regular_file`."""
    require_regular_file(path, kind, max_bytes)
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"the {kind} {path} cannot be read: {error.strerror}") from error


def read_text(path: Path) -> str:
    """Return the content of an annotation file in UTF-8, without a byte order mark.

    Raises:
        DataError: the file does not exist, is not a regular file, or is not UTF-8.
    """
    try:
        return read_bytes(path, "annotation file").decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"the annotation file {path} is not a UTF-8 text file: {error}") from error


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
    top = os.path.realpath(folder)

    @functools.cache
    def stays_inside(path: str) -> bool:
        return Path(os.path.realpath(path)).is_relative_to(top)  # Path.resolve would raise for links in a circle

    def is_inside(name: str) -> bool:
        if os.path.isabs(name) or not _is_possible(name):
            return False
        path = os.path.join(folder, name)
        # Resolving a path is slow: only the folder is resolved, once, unless the last part can lead elsewhere itself.
        leads_elsewhere = os.path.islink(path) or os.path.basename(path) in ("", ".", "..")
        return stays_inside(path if leads_elsewhere else os.path.dirname(path))

    return [index for index, name in enumerate(names) if not is_inside(name)]


def _is_possible(name: str) -> bool:
    """Return whether a file can have this name; JSON can hold a name with a NUL or half a surrogate pair."""
    try:
        return b"\0" not in os.fsencode(name)
    except UnicodeEncodeError:
        return False


def check_files_exist(paths: Sequence[Path], source: Path) -> None:
    """Raise DataError that lists the missing files, if there are any; `source` is the file that lists the paths."""
    missing = [str(paths[index]) for index in find_missing(paths)]
    if missing:
        raise DataError(f"{source}: {len(missing)} images are missing: {format_list(missing, MAX_LISTED)}")


def find_missing(paths: Sequence[Path]) -> list[int]:
    """Return the indices of missing files. Each folder is listed once, which is faster than a check per file."""
    present: dict[Path, set[str]] = {}
    for folder in {path.parent for path in paths}:
        present[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
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
