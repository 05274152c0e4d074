"""Writing files atomically: a reader finds the previous file or the new one, also after a crash or on a full disk."""

import contextlib
import fcntl
import functools
import io
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from visionkit.errors import WriteError

TEMPORARY = re.compile(r"\..*\.[0-9a-f]{8}\.visionkit-tmp")
"""Names of temporary files, which are hidden and so are never read as images."""


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file for writing that replaces `path` when the block ends without an error.

    The temporary file is in the folder of `path`, because a file can be replaced at once only on the same file system.
    Its content is on the disk before it replaces `path`. It is removed if the block fails. If this process is killed,
    it is removed when another process writes into the folder. The folder is created if it does not exist.

    Raises:
        WriteError: the file cannot be written, for example because the disk is full. A previous file is kept.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from visionkit.data.io.atomic_write import atomic_write
        >>> path = Path(tempfile.mkdtemp()) / "new_folder" / "data.bin"
        >>> with atomic_write(path) as file:
        ...     _ = file.write(b"content")
        >>> path.read_bytes()
        b'content'
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers_once(path.parent)
        raw = _create_temporary(path)
    except OSError as error:
        raise _explained(path, error) from error
    temporary = Path(raw.name)
    try:
        with io.BufferedWriter(raw) as file:
            yield cast(BinaryIO, file)
            _finish(cast(BinaryIO, file), temporary, path)
    except Exception as error:
        # torch.save replaces the error of a failed write by one that does not name the reason
        if raw.error is not None:
            raise _explained(path, raw.error) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically, see `atomic_write`.

    Raises:
        WriteError: the file cannot be written. A previous file is kept.
    """
    with atomic_write(path) as file:
        file.write(text.encode())


def replace(temporary: Path, path: Path, descriptor: int) -> None:
    """Rename a complete file to `path` after its content is on the disk.

    Args:
        temporary: the file, on the same file system as `path`.
        path: file to replace.
        descriptor: descriptor of the open `temporary`.
    """
    os.fsync(descriptor)
    temporary.replace(path)
    with contextlib.suppress(OSError):  # not every file system can sync a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files in `folder` whose processes are dead. A living process holds a lock on its file."""
    for path in folder.iterdir():
        if TEMPORARY.fullmatch(path.name):
            with contextlib.suppress(OSError), path.open("rb") as file:  # locked, or another process was faster
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


_remove_leftovers_once = functools.cache(remove_leftovers)


class _TemporaryFile(io.FileIO):
    """File that stores the error of a failed write."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            self.error = error
            raise


def _create_temporary(path: Path) -> _TemporaryFile:
    """Create a temporary file beside `path`, and lock it."""
    while True:
        file = _TemporaryFile(path.with_name(f".{path.name}.{secrets.token_hex(4)}.visionkit-tmp"), "xb")
        with contextlib.suppress(OSError):  # a file system without locks; leftovers are kept there
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.path.exists(file.name):  # `remove_leftovers` of another process did not come before the lock
            return file
        file.close()


def _finish(file: BinaryIO, temporary: Path, path: Path) -> None:
    try:
        file.flush()
        replace(temporary, path, file.fileno())
    except OSError as error:
        raise _explained(path, error) from error


def _explained(path: Path, error: OSError) -> WriteError:
    kept = "\nthe previous file is kept" if path.exists() else ""
    return WriteError(f"{path} could not be written: {error.strerror or error}{kept}")
