"""The cache of remote shards on a node, which all its processes share."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from visionkit.data.io.file_lock import waiting_lock
from visionkit.errors import WriteError

SHARDS = "shards"
"""Folder of the shards of a split, in which only shards are counted and removed."""

NOT_SHARDS = (".lock", ".version")


class ShardCache:
    """Files in a folder, of which those that were not used for longest are removed when it is full.

    Two processes or threads never download the same file: one downloads, and the others wait for it. A file that is
    removed while another process reads it stays readable there. While several files are downloaded, their sum may
    exceed the size for a moment.

    Args:
        folder: folder of the cache; files are in `<dataset>/<split>/shards/`.
        max_bytes: largest size of all files.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self.max_bytes = folder, max_bytes

    def get(self, path: Path, size: int, download: Callable[[Path], None]) -> Path:
        """Return the path of a file after downloading it, if it is not there.

        Args:
            path: the file.
            size: its size in bytes.
            download: writes the file, which appears when it is complete.

        Raises:
            WriteError: the folder cannot be written.
        """
        if not _touch(path):
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                with waiting_lock(path.with_name(f"{path.name}.lock")):
                    if not _touch(path):  # no other process was faster
                        self._make_room(size)
                        download(path)
            except WriteError:
                raise
            except OSError as error:
                raise WriteError(f"the cache {path.parent} cannot be written: {error.strerror or error}") from error
        return path

    def _make_room(self, size: int) -> None:
        """Remove the files that were not used for longest, until one more of `size` bytes fits."""
        with waiting_lock(self.folder / "removal.lock"):
            found = sorted(self._files())
            total = sum(length for _, length, _ in found)
            for _, length, path in found:
                if total + size <= self.max_bytes:
                    return
                path.unlink(missing_ok=True)
                total -= length

    def _files(self) -> Iterator[tuple[float, int, Path]]:
        """Yield time of use, size and path of each shard."""
        for path in self.folder.glob(f"*/*/{SHARDS}/*"):
            if path.suffix not in NOT_SHARDS:
                try:
                    status = path.stat()
                except OSError:  # removed meanwhile
                    continue
                yield status.st_mtime, status.st_size, path


def _touch(path: Path) -> bool:
    """Set the time of use of a file to now, and return whether it exists."""
    try:
        os.utime(path)
    except OSError:
        return False
    return True
