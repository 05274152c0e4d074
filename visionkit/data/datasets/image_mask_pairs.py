"""Which mask file belongs to which image file."""

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visionkit.data.io.images import SUFFIXES
from visionkit.data.io.list_images import list_images
from visionkit.data.io.paths import existing_file, inside, missing, refuse_duplicates
from visionkit.errors import DataError
from visionkit.text import format_list

MOST_NAMED = 5


class Side(NamedTuple):
    """Where one kind of file lies, and how the names end ("_labels.png").

    Without a suffix every image is taken, and its ending is no part of its name.
    """

    folder: Path
    suffix: str = ""

    @property
    def ending(self) -> str:
        """For messages."""
        return self.suffix or ", ".join(sorted(SUFFIXES))


@dataclass
class Pairs:
    """Images and their masks, as many of one as of the other.

    Attributes:
        image_folder, mask_folder: what the names are relative to.
        images, masks: file names.
    """

    image_folder: Path
    mask_folder: Path
    images: list[str]
    masks: list[str]

    def __len__(self) -> int:
        return len(self.images)

    def chosen(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> "Pairs":
        """Some of the pairs: bool [pairs], or their indices."""
        kept = np.arange(len(self))[which]
        images, masks = ([names[index] for index in kept] for names in (self.images, self.masks))
        return Pairs(self.image_folder, self.mask_folder, images, masks)

    def refuse_missing(self, source: Path) -> None:
        """Raise DataError that lists the files which are not there, if there are any."""
        for what, folder, names in (
            ("images", self.image_folder, self.images),
            ("masks", self.mask_folder, self.masks),
        ):
            paths = [folder / name for name in names]
            absent = [str(paths[index]) for index in missing(paths)]
            if absent:
                raise DataError(f"{source}: {len(absent)} {what} are missing: {format_list(absent, MOST_NAMED)}")


def pairs_by_name(images: Side, masks: Side, counts: Counter[str]) -> Pairs:
    """All images and masks below two folders, those of one name together, in the order of the names.

    A file's name is its path below the folder without the suffix. Numbers in it count as numbers: 2.png is before
    10.png. One folder may lie inside the other.

    Args:
        images: where the images lie, at any depth.
        masks: likewise, maybe in the same folder.
        counts: files left out by reason, added to.

    Raises:
        DataError: there is no image, two have one name, or an image or mask is without its counterpart.
    """
    image_names, mask_names = _named(images, masks.folder, counts), _named(masks, images.folder, counts)
    if not image_names:
        raise DataError(f"{images.folder} has no images; looked for files ending in {images.ending}")
    _refuse_alone("images", image_names, "mask", mask_names, masks)
    _refuse_alone("masks", mask_names, "image", image_names, images)
    keys = sorted(image_names, key=natural)
    ordered = ([names[key] for key in keys] for names in (image_names, mask_names))
    return Pairs(images.folder, masks.folder, *ordered)


def pairs_in_list(source: Path, images: Side, masks: Side) -> Pairs:
    """The pairs of a list file, in its order.

    Args:
        source: one pair of file names a line, set apart by blanks or by a tab; or one name a line, to which the
            suffixes are added.
        images: what the first names are relative to.
        masks: what the second names are relative to.

    Raises:
        DataError: the file is no such list, repeats an image, or names files that are not there or lie outside.
    """
    try:
        lines = existing_file(source).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"the list {source} is no text: {error}") from error
    rows = [_columns(line.strip(), images.suffix, masks.suffix, source) for line in lines if line.strip()]
    if not rows:
        raise DataError(f"{source} lists no image")
    pairs = Pairs(images.folder, masks.folder, [row[0] for row in rows], [row[1] for row in rows])
    refuse_duplicates(pairs.images, "images", source)
    inside(images.folder, pairs.images, source)
    inside(masks.folder, pairs.masks, source)
    pairs.refuse_missing(source)
    return pairs


def natural(name: str) -> list[str | int]:
    """A key that sorts numbers inside names as numbers."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def _columns(line: str, image_suffix: str, mask_suffix: str, source: Path) -> tuple[str, str]:
    words = line.split("\t") if "\t" in line else line.split()
    if len(words) == 2:
        return words[0].strip(), words[1].strip()
    if len(words) == 1 and image_suffix and mask_suffix:
        return words[0] + image_suffix, words[0] + mask_suffix
    if len(words) == 1:
        raise DataError(
            f"{source} has one name a line ({line[:60]!r}); say how the files end: image_suffix, mask_suffix"
        )
    raise DataError(f"{source}: {line[:80]!r} is neither an image and its mask nor one name; a tab allows blanks")


def _named(side: Side, other: Path, counts: Counter[str]) -> dict[str, str]:
    """File names of a side by what identifies them; without those below `other`, if that lies deeper."""
    folder, suffix = side
    names = [name for name in list_images(folder, "", counts) if name.endswith(suffix)]
    if other != folder and other.is_relative_to(folder):
        inner = os.path.join(os.path.relpath(other, folder), "")
        names = [name for name in names if not name.startswith(inner)]
    found: dict[str, str] = {}
    for name in names:
        key = name[: -len(suffix)] if suffix else os.path.splitext(name)[0]
        if key in found:
            raise DataError(f"{folder} has {found[key]} and {name}, of one name: which belongs to its counterpart?")
        found[key] = name
    return found


def _refuse_alone(what: str, these: dict[str, str], lacking: str, others: dict[str, str], side: Side) -> None:
    """Raise DataError that lists which of `these` have no counterpart among the `others`, if some have none."""
    alone = [name for key, name in these.items() if key not in others]
    if alone:
        raise DataError(
            f"{len(alone)} of {len(these)} {what} have no {lacking} below {side.folder}: "
            f"{format_list(alone, MOST_NAMED)}\n"
            f"a {lacking} has the same name but for its ending ({side.ending})"
        )
