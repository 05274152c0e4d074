"""Paths in annotation files that were written on another machine, or relative to another folder."""

import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from visionkit.data.io.paths import find_outside

SPLIT_NAMES = ("val", "valid", "validate", "validation")
"""Names of the folder of the validation split in exports of different tools."""

SAME_FOLDER = (".", "./", ".\\")

MAX_PARTS = 16
"""Parts of a path that are looked up. Their number times that of split names among them limits the time."""


def find_foreign(folder: Path, path: str, near: Path | None = None) -> str | None:
    r"""Return the name in `folder` of the file or folder that a foreign path stands for; None if there is none.

    The path may be absolute on another machine (`C:\data\images\a.jpg`), or relative to a folder that is not there
    (`../train/images`, `data/obj_train_data/a.jpg`). The longest end of it that exists is taken, first beside the
    annotation file and then in `folder`. `valid` also finds `val`, `validate` and `validation`, and `.` is the folder
    of the annotation file. What lies outside of `folder` is never found. Of a longer path, the last 16 parts are
    looked up.

    Args:
        folder: folder of the dataset.
        path: the path as it stands in the file.
        near: folder of the annotation file, inside `folder`; None is `folder`.
    """
    parts = _parts(path)[-MAX_PARTS:]
    starts = range(len(parts)) if path.strip() not in SAME_FOLDER else [0]
    for start in starts:
        for base in dict.fromkeys([near or folder, folder]):
            for candidate in _with_split_names(parts[start:]):
                name = os.path.relpath(base.joinpath(*candidate), folder)
                if os.path.exists(folder / name) and not find_outside(folder, [name]):
                    return name
    return None


def _parts(path: str) -> list[str]:
    """Return the parts of a POSIX or Windows path, without drive, root, `.` and `..`."""
    pure = PureWindowsPath(path.strip()) if "\\" in path or path[1:2] == ":" else PurePosixPath(path.strip())
    return [part for part in pure.parts if part not in (".", "..", pure.anchor)]


def _with_split_names(parts: Sequence[str]) -> list[list[str]]:
    """Return the parts, and the same with the other names of a validation split."""
    variants = [list(parts)]
    for position, part in enumerate(parts):
        if part in SPLIT_NAMES:
            variants += [[*parts[:position], name, *parts[position + 1 :]] for name in SPLIT_NAMES if name != part]
    return variants
