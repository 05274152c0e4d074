"""Which mask file belongs to which picture file."""

import os
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visionkit.data.paths import existing_file, inside, missing, refuse_duplicates
from visionkit.data.pictures import SUFFIXES
from visionkit.data.walk import pictures_below
from visionkit.data.wording import listed
from visionkit.errors import DataError

MOST_NAMED = 5


class Side(NamedTuple):
    """Where one kind of file lies, and how the names end ("_labels.png").

    Without a suffix every picture is taken, and its ending is no part of its name.
    """

    folder: Path
    suffix: str = ""

    @property
    def ending(self) -> str:
        """For messages."""
        return self.suffix or ", ".join(sorted(SUFFIXES))


@dataclass
class Pairs:
    """Pictures and their masks, as many of one as of the other.

    Attributes:
        picture_folder, mask_folder: what the names are relative to.
        pictures, masks: file names.
    """

    picture_folder: Path
    mask_folder: Path
    pictures: list[str]
    masks: list[str]

    def __len__(self) -> int:
        return len(self.pictures)

    def chosen(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> "Pairs":
        """Some of the pairs: bool [pairs], or their indices."""
        kept = np.arange(len(self))[which]
        pictures, masks = ([names[index] for index in kept] for names in (self.pictures, self.masks))
        return Pairs(self.picture_folder, self.mask_folder, pictures, masks)

    def refuse_missing(self, source: Path) -> None:
        """Raise DataError that lists the files which are not there, if there are any."""
        for what, folder, names in (
            ("pictures", self.picture_folder, self.pictures),
            ("masks", self.mask_folder, self.masks),
        ):
            paths = [folder / name for name in names]
            absent = [str(paths[index]) for index in missing(paths)]
            if absent:
                raise DataError(f"{source}: {len(absent)} {what} are missing: {listed(absent, MOST_NAMED)}")


def pairs_by_name(pictures: Side, masks: Side, counts: Counter[str]) -> Pairs:
    """All pictures and masks below two folders, those of one name together, in the order of the names.

    A file's name is its path below the folder without the suffix. Numbers in it count as numbers: 2.png is before
    10.png. One folder may lie inside the other.

    Args:
        pictures: where the pictures lie, at any depth.
        masks: likewise, maybe in the same folder.
        counts: files left out by reason, added to.

    Raises:
        DataError: there is no picture, two have one name, or a picture or mask is without its counterpart.
    """
    picture_names, mask_names = _named(pictures, masks.folder, counts), _named(masks, pictures.folder, counts)
    if not picture_names:
        raise DataError(f"{pictures.folder} has no pictures; looked for files ending in {pictures.ending}")
    _refuse_alone("pictures", picture_names, "mask", mask_names, masks)
    _refuse_alone("masks", mask_names, "picture", picture_names, pictures)
    keys = sorted(picture_names, key=natural)
    ordered = ([names[key] for key in keys] for names in (picture_names, mask_names))
    return Pairs(pictures.folder, masks.folder, *ordered)


def pairs_in_list(source: Path, pictures: Side, masks: Side) -> Pairs:
    """The pairs of a list file, in its order.

    Args:
        source: one pair of file names a line, set apart by blanks or by a tab; or one name a line, to which the
            suffixes are added.
        pictures: what the first names are relative to.
        masks: what the second names are relative to.

    Raises:
        DataError: the file is no such list, repeats a picture, or names files that are not there or lie outside.
    """
    try:
        lines = existing_file(source).read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"the list {source} is no text: {error}") from error
    rows = [_columns(line.strip(), pictures.suffix, masks.suffix, source) for line in lines if line.strip()]
    if not rows:
        raise DataError(f"{source} lists no picture")
    pairs = Pairs(pictures.folder, masks.folder, [row[0] for row in rows], [row[1] for row in rows])
    refuse_duplicates(pairs.pictures, "pictures", source)
    inside(pictures.folder, pairs.pictures, source)
    inside(masks.folder, pairs.masks, source)
    pairs.refuse_missing(source)
    return pairs


def natural(name: str) -> list[str | int]:
    """A key that sorts numbers inside names as numbers."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def _columns(line: str, picture_suffix: str, mask_suffix: str, source: Path) -> tuple[str, str]:
    words = line.split("\t") if "\t" in line else line.split()
    if len(words) == 2:
        return words[0].strip(), words[1].strip()
    if len(words) == 1 and picture_suffix and mask_suffix:
        return words[0] + picture_suffix, words[0] + mask_suffix
    if len(words) == 1:
        raise DataError(
            f"{source} has one name a line ({line[:60]!r}); say how the files end: picture_suffix, mask_suffix"
        )
    raise DataError(f"{source}: {line[:80]!r} is neither a picture and its mask nor one name; a tab allows blanks")


def _named(side: Side, other: Path, counts: Counter[str]) -> dict[str, str]:
    """File names of a side by what identifies them; without those below `other`, if that lies deeper."""
    folder, suffix = side
    names = [name for name in pictures_below(folder, "", counts) if name.endswith(suffix)]
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
            f"{len(alone)} of {len(these)} {what} have no {lacking} below {side.folder}: {listed(alone, MOST_NAMED)}\n"
            f"a {lacking} has the same name but for its ending ({side.ending})"
        )
