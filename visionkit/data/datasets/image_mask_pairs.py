"""Matching image files with their mask files."""

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visionkit.data.io.image_files import SUFFIXES
from visionkit.data.io.list_images import list_images, natural_sort_key
from visionkit.data.io.paths import check_unique, find_missing, read_text, resolve_inside
from visionkit.errors import DataError
from visionkit.text import format_list

MAX_LISTED = 5


class FilePattern(NamedTuple):
    """A folder, and the suffix of the file names in it ("_labels.png").

    With an empty suffix all image files match, and the file extension is not part of the name.
    """

    folder: Path
    suffix: str = ""

    @property
    def description(self) -> str:
        """The suffix, or all image suffixes, for messages."""
        return self.suffix or ", ".join(sorted(SUFFIXES))


@dataclass
class ImageMaskPairs:
    """Image files and their mask files.

    Attributes:
        image_folder, mask_folder: folders that the names are relative to.
        images, masks: file names, of equal number.
    """

    image_folder: Path
    mask_folder: Path
    images: list[str]
    masks: list[str]

    def __len__(self) -> int:
        return len(self.images)

    def select(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> "ImageMaskPairs":
        """Return some of the pairs, given by a boolean mask [pairs] or by indices."""
        kept = np.arange(len(self))[which]
        images, masks = ([names[index] for index in kept] for names in (self.images, self.masks))
        return ImageMaskPairs(self.image_folder, self.mask_folder, images, masks)

    def check_files_exist(self, source: Path) -> None:
        """Raise DataError that lists missing files, if there are any; `source` is the file that lists the pairs."""
        for kind, folder, names in (
            ("images", self.image_folder, self.images),
            ("masks", self.mask_folder, self.masks),
        ):
            paths = [folder / name for name in names]
            missing = [str(paths[index]) for index in find_missing(paths)]
            if missing:
                raise DataError(f"{source}: {len(missing)} {kind} are missing: {format_list(missing, MAX_LISTED)}")


def pair_by_name(images: FilePattern, masks: FilePattern, counts: Counter[str]) -> ImageMaskPairs:
    """Return all images and masks in two folders, matched and sorted by name.

    The name of a file is its path relative to the folder, without the suffix. Numbers in names are compared as
    numbers: 2.png comes before 10.png. One folder may be inside the other.

    Args:
        images: the image files, at any depth.
        masks: the mask files, at any depth, possibly in the same folder.
        counts: skipped files by reason, which are added to.

    Raises:
        DataError: there are no images, two files have the same name, or an image or mask has no counterpart.
    """
    image_names = _names_by_key(images, masks.folder, counts)
    mask_names = _names_by_key(masks, images.folder, counts)
    if not image_names:
        raise DataError(f"{images.folder} has no images; the searched file names end in {images.description}")
    _check_counterparts("images", image_names, "mask", mask_names, masks)
    _check_counterparts("masks", mask_names, "image", image_names, images)
    keys = sorted(image_names, key=natural_sort_key)
    ordered = ([names[key] for key in keys] for names in (image_names, mask_names))
    return ImageMaskPairs(images.folder, masks.folder, *ordered)


def pair_by_list(source: Path, images: FilePattern, masks: FilePattern) -> ImageMaskPairs:
    """Return the pairs of a list file, in its order.

    Args:
        source: text file with one pair of file names per line, separated by blanks or a tab; or with one name per
            line, to which the suffixes are appended.
        images: folder of the images, and their suffix.
        masks: folder of the masks, and their suffix.

    Raises:
        DataError: the file is not such a list, repeats an image, or lists files that are missing or outside the
            folders.
    """
    lines = read_text(source).splitlines()
    rows = [_parse_line(line.strip(), images.suffix, masks.suffix, source) for line in lines if line.strip()]
    if not rows:
        raise DataError(f"{source} lists no images")
    pairs = ImageMaskPairs(images.folder, masks.folder, [row[0] for row in rows], [row[1] for row in rows])
    check_unique(pairs.images, "images", source)
    resolve_inside(images.folder, pairs.images, source)
    resolve_inside(masks.folder, pairs.masks, source)
    pairs.check_files_exist(source)
    return pairs


def _parse_line(line: str, image_suffix: str, mask_suffix: str, source: Path) -> tuple[str, str]:
    words = line.split("\t") if "\t" in line else line.split()
    if len(words) == 2:
        return words[0].strip(), words[1].strip()
    if len(words) == 1 and image_suffix and mask_suffix:
        return words[0] + image_suffix, words[0] + mask_suffix
    if len(words) == 1:
        raise DataError(f"{source} has one name per line ({line[:60]!r}); set image_suffix and mask_suffix")
    raise DataError(
        f"{source}: {line[:80]!r} must be an image and its mask, or one name; names with blanks need a tab between them"
    )


def _names_by_key(pattern: FilePattern, other: Path, counts: Counter[str]) -> dict[str, str]:
    """Return the file names by the part that images and masks share, without files in `other` if it is inside."""
    folder, suffix = pattern
    names = [name for name in list_images(folder, "", counts) if name.endswith(suffix)]
    if other != folder and other.is_relative_to(folder):
        inner = os.path.join(os.path.relpath(other, folder), "")
        names = [name for name in names if not name.startswith(inner)]
    by_key: dict[str, str] = {}
    for name in names:
        key = name[: -len(suffix)] if suffix else os.path.splitext(name)[0]
        if key in by_key:
            raise DataError(f"{folder} has {by_key[key]} and {name}, which would have the same counterpart")
        by_key[key] = name
    return by_key


def _check_counterparts(
    kind: str, names: dict[str, str], other_kind: str, others: dict[str, str], pattern: FilePattern
) -> None:
    """Raise DataError that lists the `names` without a counterpart in `others`, if there are any."""
    unmatched = [name for key, name in names.items() if key not in others]
    if unmatched:
        raise DataError(
            f"{len(unmatched)} of {len(names)} {kind} have no {other_kind} in {pattern.folder}: "
            f"{format_list(unmatched, MAX_LISTED)}\n"
            f"a {other_kind} has the same name except for its ending ({pattern.description})"
        )
