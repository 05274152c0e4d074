"""Finding image files in folders."""

import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from visionkit.data.io.image_files import SUFFIXES
from visionkit.data.io.paths import require_existing
from visionkit.errors import DataError


def find_images(paths: Iterable[Path]) -> list[Path]:
    """Return the images that files and folders stand for. Folders are searched at any depth, sorted by name.

    Raises:
        DataError: a path does not exist, or there are no images.
    """
    images: list[Path] = []
    for path in paths:
        if require_existing(path).is_dir():
            images += sorted(file for file in path.rglob("*") if file.suffix.lower() in SUFFIXES and file.is_file())
        else:
            images.append(path)
    if not images:
        raise DataError(f"no images found; the searched file types are {', '.join(sorted(SUFFIXES))}")
    return images


def list_images(folder: Path, inner: str, counts: Counter[str]) -> list[str]:
    """Return the names of the images in `folder / inner` at any depth, relative to `folder`, sorted.

    Hidden files and folders, links to folders, and files that are not images are skipped and counted.

    Args:
        folder: folder that the names are relative to.
        inner: a folder in it; "" is `folder` itself.
        counts: skipped files by reason, which are added to.
    """
    images = []
    for path, folders, files in os.walk(folder / inner):
        folders[:] = [name for name in folders if is_visible(name, counts) and _is_no_link(path, name, counts)]
        relative = os.path.relpath(path, folder)
        names = [name for name in files if is_visible(name, counts) and _is_image(name, counts)]
        images += [os.path.normpath(os.path.join(relative, name)) for name in names]
    return sorted(images)


def list_files(path: Path, suffix: str, counts: Counter[str]) -> list[Path]:
    """Return the files with a suffix in a folder at any depth, sorted; `path` itself if it is a file.

    Args:
        path: the folder or file.
        suffix: suffix of the files, in lower case (".json").
        counts: hidden files and folders, which are skipped, and links to folders; added to.
    """
    if not path.is_dir():
        return [path]
    found = []
    for folder, folders, files in os.walk(path):
        folders[:] = [name for name in folders if is_visible(name, counts) and _is_no_link(folder, name, counts)]
        named = [name for name in files if name.lower().endswith(suffix) and is_visible(name, counts)]
        found += [Path(folder, name) for name in named]
    return sorted(found)


def is_visible(name: str, counts: Counter[str]) -> bool:
    """Return whether a file or folder is not hidden and not a leftover such as `.DS_Store`; hidden ones are counted."""
    hidden = name.startswith(".") or name == "__MACOSX"
    if hidden:
        counts["hidden files and folders skipped"] += 1
    return not hidden


def _is_no_link(path: str, name: str, counts: Counter[str]) -> bool:
    """Return whether a folder is not a link. `os.walk` skips links, which could form a circle; this counts them."""
    is_link = os.path.islink(os.path.join(path, name))
    if is_link:
        counts["links to folders skipped"] += 1
    return not is_link


def _is_image(name: str, counts: Counter[str]) -> bool:
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in SUFFIXES:
        counts[f"files that are not images skipped ({suffix or 'no extension'})"] += 1
    return suffix in SUFFIXES


def natural_sort_key(name: str) -> list[str | int]:
    """Return a key that sorts numbers inside names as numbers."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def image_suffixes(folder: Path) -> dict[str, str]:
    """Return the suffix of each image file in a folder by its stem. Of several suffixes, the first in order is kept."""
    names = sorted(os.listdir(folder), reverse=True) if folder.is_dir() else []
    pairs = (os.path.splitext(name) for name in names)
    return {stem: suffix for stem, suffix in pairs if suffix.lower() in SUFFIXES}
