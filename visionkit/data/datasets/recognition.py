"""Recognition of the data format of a folder: what a format is told about the folder, and what it answers."""

import os
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import takewhile
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from visionkit.data.io.image_files import SUFFIXES
from visionkit.data.io.list_images import is_visible
from visionkit.data.io.paths import require_regular_file
from visionkit.errors import DataError

T = TypeVar("T")

SPLITS = ("train", "val", "test")
"""Names of the splits."""

SPLIT_WORDS: Mapping[str, str] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validate", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""Split by the words that tools use for it in names of files and folders."""

MAX_FILES = 5_000_000

HEAD_BYTES = 2**16
"""Part of an annotation file in which the words of its format must stand to be recognized."""


@dataclass
class Recognized:
    """The splits of a folder, as a format would read them.

    Attributes:
        splits: options of the format's dataset class for each split, or a list of them.
        notes: what was assumed, and what was found and is not used.
    """

    splits: Mapping[str, dict[str, Any] | list[Any]]
    notes: list[str] = field(default_factory=list)


class FolderListing:
    """The files of a folder, which is searched once for all formats.

    Hidden files and folders and links to folders are left out.

    Args:
        folder: the folder.

    Attributes:
        files: names of the files relative to `folder`, with "/", sorted.

    Raises:
        DataError: the folder has more than `MAX_FILES` files, or is the root of a file system.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from visionkit.data.datasets.recognition import FolderListing
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("train/a.jpg", "train.json"):
        ...     (folder / name).parent.mkdir(exist_ok=True)
        ...     (folder / name).touch()
        >>> listing = FolderListing(folder)
        >>> listing.images, listing.with_suffix(".json")
        (['train/a.jpg'], ['train.json'])
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: list[str] = []
        if folder.resolve().parent == folder.resolve():
            raise DataError(f"{folder} is a whole file system; give the folder of the images")
        unused: Counter[str] = Counter()
        for path, folders, files in os.walk(folder):
            folders[:] = [name for name in folders if is_visible(name, unused)]
            inner = Path(path).relative_to(folder).as_posix()
            start = "" if inner == "." else f"{inner}/"
            self.files += [start + name for name in files if is_visible(name, unused)]
            if len(self.files) > MAX_FILES:
                raise DataError(f"{folder} has more than {MAX_FILES} files; write a card for it")
        self.files.sort()

    def __contains__(self, name: str) -> bool:
        return name in self._known

    def with_suffix(self, *suffixes: str) -> list[str]:
        """Return the files with one of the suffixes, in lower or upper case."""
        return [name for suffix in suffixes for name in self._by_suffix.get(suffix, [])]

    @cached_property
    def images(self) -> list[str]:
        """Names of the image files."""
        return sorted(self.with_suffix(*SUFFIXES))

    @cached_property
    def image_folders(self) -> dict[str, int]:
        """Number of images in each folder that has some; "" is the folder itself."""
        return dict(Counter(parent_of(name) for name in self.images))

    @cached_property
    def suffixes(self) -> dict[str, int]:
        """Number of files of each suffix, the most frequent first."""
        return dict(Counter({suffix: len(names) for suffix, names in self._by_suffix.items()}).most_common())

    def folders_with(self, names: Sequence[str]) -> list[str]:
        """Return the folders below which all the files exist, the nearest to the top first.

        Args:
            names: file names relative to the folder that is searched.
        """
        first = names[0].replace("\\", "/").lstrip("/")
        ends = self._by_name.get(first.rpartition("/")[2], [])
        tails = [name[: -len(first)] for name in ends if f"/{name}".endswith(f"/{first}")]
        found = [tail for tail in tails if all(tail + name.replace("\\", "/").lstrip("/") in self for name in names)]
        return [tail.rstrip("/") for tail in sorted(found, key=lambda tail: (tail.count("/"), tail))]

    @cached_property
    def images_by_stem(self) -> dict[str, list[str]]:
        """Names of the image files by their name without folder and suffix."""
        found: dict[str, list[str]] = {}
        for name in self.images:
            found.setdefault(PurePosixPath(name).stem, []).append(name)
        return found

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.files)

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self.files:
            found.setdefault(name.rpartition("/")[2], []).append(name)
        return found

    @cached_property
    def _by_suffix(self) -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for name in self.files:
            found.setdefault(os.path.splitext(name)[1].lower(), []).append(name)
        return found


Recognizer = Callable[[FolderListing], Recognized | None]
"""Returns the splits of a folder in one format; None if the folder is not in this format."""


def files_with(listing: FolderListing, suffix: str, *words: str) -> list[str]:
    """Return the files with a suffix that have all the words in their first `HEAD_BYTES`."""
    return [name for name in listing.with_suffix(suffix) if _has_words(listing.folder / name, words)]


def _has_words(path: Path, words: Sequence[str]) -> bool:
    try:
        require_regular_file(path, "file")  # a pipe would be waited for
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except (DataError, OSError):
        return False
    return all(word.encode() in head for word in words)


def one_per_split(
    listing: FolderListing, names: Sequence[str], options: Callable[[str], dict[str, Any]], needs_images: bool = True
) -> Recognized | None:
    """Return one annotation file or folder for each split, with notes about the others; None without any.

    Args:
        listing: the folder.
        names: the files or folders, the preferred ones first.
        options: returns the options of the dataset class for one of them.
        needs_images: whether the folder must have image files.
    """
    if not names:
        return None
    if needs_images and not listing.images:
        return Recognized({}, notes=[f"{names[0]} is not used: there are no images in the folder"])
    found = by_split(names)
    unused = [f"{name} is not used: {own[0]} is taken as {split}" for split, own in found.items() for name in own[1:]]
    return Recognized({split: options(own[0]) for split, own in found.items()}, notes=unused)


def folders_of(names: Sequence[str]) -> list[str]:
    """Return the folders of files, sorted; if no folder's name tells a split, the deepest folder that has all files.

    Example:
        >>> from visionkit.data.datasets.recognition import folders_of
        >>> folders_of(["x/train/a.xml", "x/val/b.xml"]), folders_of(["x/day1/a.xml", "x/day2/b.xml"])
        (['x/train', 'x/val'], ['x'])
    """
    folders = sorted({parent_of(name) for name in names})
    if len(folders) < 2 or any(map(split_of, folders)):
        return folders
    shared = takewhile(
        lambda parts: len(set(parts)) == 1, zip(*(folder.split("/") for folder in folders), strict=False)
    )
    return ["/".join(parts[0] for parts in shared)]


def main_image_folder(listing: FolderListing, like: str) -> str:
    """Return the folder that has the most images, of those of the same split as the name `like` if there are any."""
    folders = listing.image_folders
    same = {folder: count for folder, count in folders.items() if split_of(folder) == split_of(like)}
    return max((same or folders).items(), key=lambda item: item[1], default=("", 0))[0]


def parent_of(name: str) -> str:
    """Return the folder of a file name; "" if it has none."""
    return name.rpartition("/")[0]


def split_of(name: str) -> str | None:
    """Return the split that the words in a name stand for; None if there is none.

    Example:
        >>> from visionkit.data.datasets.recognition import split_of
        >>> split_of("annotations/instances_val2017.json"), split_of("images/train"), split_of("valley.json")
        ('val', 'train', None)
    """
    words = [word for word in re.split(r"[^a-z]+", name.lower()) if word in SPLIT_WORDS]
    return SPLIT_WORDS[words[-1]] if words else None


def best_match(name: str, folders: Sequence[str]) -> str:
    """Return the folder that belongs to a name best: of the same split, then with most parents in common, then first.

    Example:
        >>> from visionkit.data.datasets.recognition import best_match
        >>> best_match("labels/val.json", ["images/train", "images/val"])
        'images/val'
    """
    split = split_of(name)
    return max(folders, key=lambda folder: (split_of(folder) == split, _common_parents(folder, name)))


def _common_parents(first: str, second: str) -> int:
    pairs = zip(first.split("/"), second.split("/"), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))


def by_split(names: Sequence[str]) -> dict[str, list[str]]:
    """Return names by their split, in the order train, val, test. A name without a split is of `train`."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(split_of(name) or "train", []).append(name)
    return in_order(found)


def in_order(splits: Mapping[str, T]) -> dict[str, T]:
    """Return the entries of the splits in the order train, val, test."""
    return {split: splits[split] for split in SPLITS if split in splits}
