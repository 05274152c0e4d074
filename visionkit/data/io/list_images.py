"""Images below a folder, at any depth; what is left out is counted."""

import os
from collections import Counter
from pathlib import Path

from visionkit.data.io.images import SUFFIXES


def list_images(folder: Path, inner: str, counts: Counter[str]) -> list[str]:
    """Names, relative to `folder`, of the images below `folder / inner`, in alphabetical order.

    Hidden files and folders, links to folders and files of other endings are left out.

    Args:
        folder: what the names are relative to.
        inner: a folder in it; "" is `folder` itself.
        counts: what was left out by reason, added to.
    """
    found = []
    for at, folders, files in os.walk(folder / inner):
        folders[:] = [name for name in folders if visible(name, counts) and _is_no_link(os.path.join(at, name), counts)]
        here = os.path.relpath(at, folder)
        names = [name for name in files if visible(name, counts) and _is_image(name, counts)]
        found += [os.path.normpath(os.path.join(here, name)) for name in names]
    return sorted(found)


def visible(name: str, counts: Counter[str]) -> bool:
    """Whether a file or folder is none of those that systems and programs leave behind (`.DS_Store`)."""
    hidden = name.startswith(".") or name == "__MACOSX"
    if hidden:
        counts["hidden files and folders left out"] += 1
    return not hidden


def _is_no_link(path: str, counts: Counter[str]) -> bool:
    """A link to a folder may lead round in a circle; os.walk does not enter it, and here it is counted."""
    linked = os.path.islink(path)
    if linked:
        counts["links to folders not followed"] += 1
    return not linked


def _is_image(name: str, counts: Counter[str]) -> bool:
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in SUFFIXES:
        counts[f"files that are no images left out ({suffix or 'no ending'})"] += 1
    return suffix in SUFFIXES
