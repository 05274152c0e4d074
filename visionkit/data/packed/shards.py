"""Items of shards: LitData's chunk layout, read at any place without LitData.

A chunk begins with the number of items and the start of each item and the end of the last one, as unsigned 32-bit
integers. An item begins with the sizes of its parts, which follow. The parts of an item here are an image file and a
mask file, which is empty for images without a semantic mask. LitData's own reader could unpickle items, if an index
says so; nothing is unpickled here.
"""

import os
import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

from visionkit.data.io.paths import require_regular_file
from visionkit.data.packed.index import Shard
from visionkit.errors import DataError

NUMBER = 4
"""Bytes of an integer of the layout."""

MAX_OPEN = 32
"""Largest number of shards that a process keeps open."""


class Item(NamedTuple):
    """The files of an image; `semantic` is empty if it has no semantic mask."""

    image: bytes
    semantic: bytes


def crc_of(item: Item) -> int:
    """Return the CRC-32 of the parts of an item."""
    return zlib.crc32(item.semantic, zlib.crc32(item.image))


class ShardFiles:
    """Open files of shards. They are read with `pread`, so that processes share neither memory nor a position.

    Args:
        locate: returns the path of the file of a shard, which it may have to download.
    """

    def __init__(self, locate: Callable[[Shard], Path]) -> None:
        self._locate = locate
        self._open: OrderedDict[str, tuple[BinaryIO, Path]] = OrderedDict()

    def __reduce__(self) -> tuple[type["ShardFiles"], tuple[Callable[[Shard], Path]]]:
        return ShardFiles, (self._locate,)  # open files stay in their process

    def read(self, shard: Shard, row: int, crc: int) -> Item:
        """Return an item.

        Args:
            shard: the shard.
            row: number of the item in its shard.
            crc: CRC-32 of its parts.

        Raises:
            DataError: the shard is missing, has another size or layout, or the item is damaged.
        """
        file, path = self._file(shard)
        try:
            return _read_item(file.fileno(), shard, row, crc)
        except (OSError, ValueError) as error:
            advice = "the file is damaged: remove it from the cache, copy it again, or pack again"
            raise DataError(f"{path}: item {row} {error}\n{advice}") from error

    def _file(self, shard: Shard) -> tuple[BinaryIO, Path]:
        """Return the open file of a shard and its path. The file that was not used for longest is closed."""
        if shard.file not in self._open:
            path = self._locate(shard)
            self._open[shard.file] = _open_checked(path, shard.bytes), path
            if len(self._open) > MAX_OPEN:
                self._open.popitem(last=False)[1][0].close()
        self._open.move_to_end(shard.file)
        return self._open[shard.file]


def _open_checked(path: Path, size: int) -> BinaryIO:
    """Open a shard that must have `size` bytes."""
    require_regular_file(path, "shard")
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"the shard {path} cannot be read: {error.strerror}") from error
    actual = os.fstat(file.fileno()).st_size
    if actual != size:
        file.close()
        raise DataError(f"the shard {path} has {actual} bytes, but its index says {size}: copy it again")
    return file


def _read_item(descriptor: int, shard: Shard, row: int, crc: int) -> Item:
    start, end = _integers(os.pread(descriptor, 2 * NUMBER, (1 + row) * NUMBER))
    if not (shard.images + 2) * NUMBER <= start <= end <= shard.bytes:
        raise ValueError("lies outside of the file")
    data = os.pread(descriptor, end - start, start)
    image, semantic = _integers(data[: 2 * NUMBER])
    first = 2 * NUMBER
    item = Item(data[first : first + image], data[first + image :])
    if first + image + semantic != len(data) or crc_of(item) != crc:
        raise ValueError("has the wrong checksum")
    return item


def _integers(data: bytes) -> tuple[int, int]:
    if len(data) != 2 * NUMBER:
        raise ValueError("is cut off")
    first, second = struct.unpack("<2I", data)
    return first, second
