"""The index of a packed dataset: its classes, and the files of each split."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from visionkit.data.datasets.class_checks import check_class_names
from visionkit.data.io.json_files import read_json
from visionkit.data.packed.layout import FORMAT, INDEX, TABLES, VERSION
from visionkit.errors import DataError
from visionkit.structures import Color
from visionkit.text import shorten

FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
"""Names of files and splits, which so cannot lead out of the folder."""

LARGEST = 2**53
"""Largest number of bytes, images or objects; JSON numbers above it are not exact."""


@dataclass(frozen=True)
class PackedFile:
    """A file with its size in bytes and its SHA-256 digest in hex."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Shard(PackedFile):
    """A shard, and its number of images."""

    images: int


@dataclass(frozen=True)
class PackedSplit:
    """The files of a split.

    Attributes:
        objects: number of objects.
        tables: the tables by name, see `layout.TABLES`.
        shards: the shards in the order of the images.
    """

    objects: int
    tables: Mapping[str, PackedFile]
    shards: Sequence[Shard]

    @property
    def images(self) -> int:
        """Number of images."""
        return sum(shard.images for shard in self.shards)


@dataclass(frozen=True)
class PackedIndex:
    """The index.

    Attributes:
        class_names, category_ids, class_colors: see `VisionDataset`.
        splits: the splits by name, which is also that of their folder.
    """

    class_names: list[str]
    category_ids: list[int]
    class_colors: list[Color] | None
    splits: Mapping[str, PackedSplit]

    def to_json(self) -> str:
        """Return the content of the file."""
        return json.dumps({"format": FORMAT, "version": VERSION, **asdict(self)}, indent=1)


def read_index(path: Path, source: object) -> PackedIndex:
    """Return the checked content of an index file.

    Args:
        path: the file.
        source: where it comes from, for messages: the path or an URL.

    Raises:
        DataError: the file is not the index of a packed dataset, is of a newer version, or names files outside of its
            folder.
    """
    return _Reader(source).index(read_json(path, "index"))


class _Reader:
    """Reads the values of an index, of which every type and range is checked."""

    def __init__(self, source: object) -> None:
        self.source = source

    def index(self, content: Any) -> PackedIndex:
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            self.fail("is not the index of a packed dataset\nwrite one with: visionkit data pack CARD OUT")
        version = self.number(content, "version", 1)
        if version > VERSION:
            self.fail(f"has version {version}, and this visionkit reads up to {VERSION}\nupdate visionkit")
        names = self.items(content, "class_names")
        check_class_names(names)
        ids = self.items(content, "category_ids")
        if len(ids) != len(names) or set(map(type, ids)) - {int} or len(set(ids)) != len(ids) or not names:
            self.fail("has category_ids that are not one integer for each of class_names")
        splits = content.get("splits")
        if not isinstance(splits, dict) or not splits:
            self.fail("has no splits")
        return PackedIndex(
            names, ids, self.colors(content, len(names)), {self.name(key): self.split(splits[key]) for key in splits}
        )

    def split(self, content: Any) -> PackedSplit:
        tables = content.get("tables") if isinstance(content, dict) else None
        if not isinstance(tables, dict) or set(tables) != set(TABLES):
            self.fail(f"must have the tables {', '.join(TABLES)} in every split")
        shards = [Shard(**self.file(entry), images=self.number(entry, "images", 1)) for entry in self.entries(content)]
        if len({shard.file for shard in shards}) != len(shards):
            self.fail("names a shard twice")
        objects = self.number(content, "objects", 0)
        return PackedSplit(objects, {name: PackedFile(**self.file(tables[name])) for name in TABLES}, shards)

    def entries(self, content: dict[str, Any]) -> list[Any]:
        shards = self.items(content, "shards")
        return shards if shards else self.fail("has a split without shards")

    def file(self, entry: Any) -> dict[str, Any]:
        if not isinstance(entry, dict):
            self.fail(f"must describe a file where it has {shorten(entry)}")
        digest = entry.get("sha256")
        if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
            self.fail(f"has the SHA-256 digest {shorten(digest)}")
        return {"file": self.name(entry.get("file")), "bytes": self.number(entry, "bytes", 0), "sha256": digest}

    def name(self, name: Any) -> str:
        if not isinstance(name, str) or not FILE_NAME.fullmatch(name):
            self.fail(f"has the file or split name {shorten(name)}; only letters, digits, _, - and . are allowed")
        return name

    def number(self, content: Any, key: str, lowest: int) -> int:
        value = content.get(key) if isinstance(content, dict) else None
        if type(value) is not int or not lowest <= value <= LARGEST:
            self.fail(f"has {key}: {shorten(value)}; it must be an integer of at least {lowest}")
        return value

    def items(self, content: dict[str, Any], key: str) -> list[Any]:
        value = content.get(key)
        if not isinstance(value, list):
            self.fail(f"has {key}: {shorten(value)}; it must be a list")
        return value

    def colors(self, content: dict[str, Any], count: int) -> list[Color] | None:
        if content.get("class_colors") is None:
            return None
        colors = self.items(content, "class_colors")
        fits = all(
            isinstance(color, list) and len(color) == 3 and all(type(v) is int and 0 <= v <= 255 for v in color)
            for color in colors
        )
        if len(colors) != count or not fits:
            self.fail("has class_colors that are not one [red, green, blue] for each class")
        return [(red, green, blue) for red, green, blue in colors]

    def fail(self, problem: str) -> NoReturn:
        raise DataError(f"{self.source} {problem}")


def index_name(root: object) -> str:
    """Return the path or URL of the index of a dataset."""
    return f"{str(root).rstrip('/')}/{INDEX}"
