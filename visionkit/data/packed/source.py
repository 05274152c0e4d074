"""Where the files of a packed dataset are: a folder, or an address whose files are cached."""

import hashlib
import os
import tempfile
import threading
from functools import partial
from pathlib import Path
from queue import Queue
from typing import Protocol

from visionkit.data.io.atomic_write import atomic_write
from visionkit.data.io.fetch import sha256_of
from visionkit.data.io.paths import require_folder, require_regular_file
from visionkit.data.packed.cache import SHARDS, ShardCache
from visionkit.data.packed.index import PackedFile, PackedIndex, PackedSplit, Shard, read_index
from visionkit.data.packed.layout import INDEX
from visionkit.data.packed.remote_files import check_remote, download_file, join_url, without_query
from visionkit.data.packed.stream_options import GIGABYTE, StreamOptions
from visionkit.errors import ConfigError, DataError, VisionkitError, WriteError
from visionkit.text import is_url


class Source(Protocol):
    """Files of a packed dataset."""

    def index(self) -> PackedIndex:
        """Return the index."""
        ...

    def tables(self, split: str, content: PackedSplit) -> Path:
        """Return the folder of the tables of a split, which are verified."""
        ...

    def shard(self, split: str, shard: Shard) -> Path:
        """Return the path of a shard."""
        ...

    def prefetch(self, split: str, shard: Shard) -> None:
        """Start to get a shard that will be read soon."""
        ...


def open_source(root: Path | str | None, options: StreamOptions) -> Source:
    """Return the source for a folder or an address.

    Raises:
        DataError: there is no root, or no such folder.
        ConfigError: the address has an unknown scheme.
    """
    if root is None:
        raise DataError(
            "the packed format needs data.root, a folder or an URL\n"
            "an URL is not taken from a checkpoint: give the card, or data.root=URL"
        )
    return RemoteSource(str(root), options) if is_url(str(root)) else FolderSource(Path(root))


class FolderSource:
    """A folder. Its shards are not hashed as a whole: each item has a checksum."""

    def __init__(self, root: Path) -> None:
        self.root = require_folder(root, "the packed format")

    def index(self) -> PackedIndex:
        """See `Source`."""
        return read_index(self.root / INDEX, self.root / INDEX)

    def tables(self, split: str, content: PackedSplit) -> Path:
        """See `Source`."""
        folder = self.root / split
        for table in content.tables.values():
            _verify(folder / table.file, table)
        return folder

    def shard(self, split: str, shard: Shard) -> Path:
        """See `Source`."""
        return self.root / split / shard.file

    def prefetch(self, split: str, shard: Shard) -> None:
        """Do nothing: the file is there."""


class RemoteSource:
    """An address. Index and tables are downloaded when the data is opened, and shards when they are read.

    Args:
        url: address of the folder.
        options: cache.
    """

    def __init__(self, url: str, options: StreamOptions) -> None:
        check_remote(url)
        self.url, self.options = url, options
        self.cache = ShardCache(options.cache_folder, options.cache_bytes)
        self._folder: Path | None = None
        self._prefetcher: _Prefetcher | None = None

    def __reduce__(self) -> tuple[type["RemoteSource"], tuple[str, StreamOptions], dict[str, object]]:
        return RemoteSource, (self.url, self.options), {"_folder": self._folder}

    def index(self) -> PackedIndex:
        """See `Source`. The index is downloaded anew, because it tells whether other files have changed."""
        address = join_url(self.url, INDEX)
        with self._new_folder() as temporary:
            path = Path(temporary) / INDEX
            download_file(address, path)
            index = read_index(path, address)
            content = path.read_bytes()
        self._folder = self.cache.folder / _folder_name(self.url, content)
        with atomic_write(self._folder / INDEX) as file:
            file.write(content)
        return index

    def tables(self, split: str, content: PackedSplit) -> Path:
        """See `Source`."""
        folder = self._split_folder(split)
        self._check_cache(content)
        for table in content.tables.values():
            self.cache.get(folder / table.file, 0, partial(self._download, split, table))
            _verify(folder / table.file, table)
        return folder

    def shard(self, split: str, shard: Shard) -> Path:
        """See `Source`."""
        path = self._shard_path(split, shard)
        if path.is_file() and path.stat().st_size != shard.bytes:  # the disk was full, or somebody else wrote it
            path.unlink(missing_ok=True)
        return self.cache.get(path, shard.bytes, partial(self._download, split, shard))

    def prefetch(self, split: str, shard: Shard) -> None:
        """See `Source`. A thread downloads, and errors appear when the shard is read."""
        if self._shard_path(split, shard).exists():
            return
        if self._prefetcher is None or self._prefetcher.process != os.getpid():
            self._prefetcher = _Prefetcher(self)
        self._prefetcher.ask(split, shard)

    def _new_folder(self) -> tempfile.TemporaryDirectory[str]:
        """Return a temporary folder in the cache.

        Raises:
            WriteError: the cache cannot be written.
        """
        try:
            self.cache.folder.mkdir(parents=True, exist_ok=True)
            return tempfile.TemporaryDirectory(dir=self.cache.folder)
        except OSError as error:
            raise WriteError(
                f"the cache {self.cache.folder} cannot be written: {error.strerror}\nset data.stream.cache to a folder"
            ) from error

    def _download(self, split: str, file: PackedFile, path: Path) -> None:
        download_file(join_url(self.url, split, file.file), path, file.sha256)

    def _shard_path(self, split: str, shard: Shard) -> Path:
        return self._split_folder(split) / SHARDS / shard.file

    def _split_folder(self, split: str) -> Path:
        assert self._folder is not None, "the index is read first"
        return self._folder / split

    def _check_cache(self, content: PackedSplit) -> None:
        """Check that the cache holds the shards that are mixed, and the next ones, which are downloaded meanwhile."""
        sizes = sorted((shard.bytes for shard in content.shards), reverse=True)
        needed = sum(sizes[: 2 * self.options.window])
        if needed > self.options.cache_bytes:
            raise ConfigError(
                f"data.stream.cache_gb={self.options.cache_gb:g} is too small for two windows of "
                f"{self.options.window} shards, {needed / GIGABYTE:.3g} GB\n"
                "raise data.stream.cache_gb, or lower data.stream.window"
            )


class _Prefetcher:
    """A thread that downloads shards in the order in which they are asked for."""

    def __init__(self, source: RemoteSource) -> None:
        self.process = os.getpid()  # a thread does not exist in a forked process
        self._source = source
        self._asked: dict[tuple[str, str], None] = {}
        self._queue: Queue[tuple[str, Shard]] = Queue()
        threading.Thread(target=self._run, daemon=True, name="visionkit-prefetch").start()

    def ask(self, split: str, shard: Shard) -> None:
        """Download a shard, unless it is waiting for its turn already."""
        if (split, shard.file) not in self._asked:
            self._asked[split, shard.file] = None
            self._queue.put((split, shard))

    def _run(self) -> None:
        while True:
            split, shard = self._queue.get()
            try:
                self._source.shard(split, shard)
            except VisionkitError:
                pass  # raised again when the shard is read
            finally:
                self._asked.pop((split, shard.file), None)


def _folder_name(url: str, index: bytes) -> str:
    """Return a name for the files of an address, which changes with the index."""
    return "-".join(hashlib.sha256(part).hexdigest()[:16] for part in (without_query(url).encode(), index))


def _verify(path: Path, file: PackedFile) -> None:
    """Check size and digest of a table."""
    require_regular_file(path, "table")
    if path.stat().st_size != file.bytes or sha256_of(path) != file.sha256:
        raise DataError(f"{path} is not the file that {INDEX} describes: copy it again, or pack the dataset again")
