"""Finding the images that annotation files refer to by names of other machines."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from visionkit.data.io.list_images import list_images
from visionkit.data.io.paths import MAX_LISTED
from visionkit.errors import DataError
from visionkit.text import format_list, shorten


class ImageIndex:
    r"""The images of a folder at any depth, found by the end of a path.

    Args:
        folder: the folder.

    Attributes:
        names: names of all images, relative to `folder`, sorted.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from visionkit.data.io.image_index import ImageIndex
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (8, 8)).save(folder / "a.JPG", "JPEG")
        >>> ImageIndex(folder).find([r"C:\photos\a.jpg"])
        'a.JPG'
    """

    def __init__(self, folder: Path) -> None:
        self.names = list_images(folder, "", Counter())
        self._by_base_name: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        for name in self.names:
            base = os.path.basename(name)
            self._by_base_name.setdefault(base.lower(), []).append(name)
            self._by_stem.setdefault(os.path.splitext(base)[0], []).append(name)

    def find(self, paths: Sequence[str]) -> str | None:
        """Return the image that has the base name of a path; None if there is none.

        Upper and lower case are the same unless several images differ only in it. Of several images with the name,
        that with exactly this path is taken, or the one that has most folders of it in common.

        Args:
            paths: POSIX or Windows paths, of which the first that is found counts.

        Raises:
            DataError: several images fit equally well.
        """
        for path in paths:
            parts = PurePosixPath(path.replace("\\", "/")).parts
            candidates = self._by_base_name.get(parts[-1].lower(), []) if parts else []
            if path in candidates:
                return path
            if candidates:
                return _closest(candidates, parts, path)
        return None

    def find_stem(self, stem: str) -> str | None:
        """Return the image whose base name without its ending is `stem`; None if there is none.

        Raises:
            DataError: there are several.
        """
        candidates = self._by_stem.get(stem, [])
        if len(candidates) > 1:
            raise _several(stem, candidates)
        return candidates[0] if candidates else None


def _closest(candidates: Sequence[str], parts: Sequence[str], path: str) -> str:
    """Return the name that agrees most with the parts of a path."""
    lower = [part.lower() for part in parts]
    agreements = [
        (_common_end(lower, [part.lower() for part in names]), _common_end(parts, names))
        for names in (PurePosixPath(name.replace(os.sep, "/")).parts for name in candidates)
    ]
    best = max(agreements)
    if agreements.count(best) > 1:
        raise _several(path, candidates)
    return candidates[agreements.index(best)]


def _common_end(first: Sequence[str], second: Sequence[str]) -> int:
    """Return the number of last parts that are equal."""
    count = 0
    for one, other in zip(reversed(first), reversed(second), strict=False):
        if one != other:
            break
        count += 1
    return count


def _several(path: str, candidates: Sequence[str]) -> DataError:
    return DataError(
        f"{shorten(path)} can be any of {format_list(candidates, MAX_LISTED)}\n"
        "images that are found by their name need different names"
    )
