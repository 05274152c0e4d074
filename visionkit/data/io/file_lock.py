"""Locks of files, so that only one process writes to them."""

import contextlib
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

HELD_BYTE, SHOWN_BYTE = (1, 0), (1, 1)
"""Length and start of the parts of a visible lock. Only those who want to hold it lock the first part."""


def try_lock(file: IO[Any]) -> bool:
    """Lock a file that is open for writing, and return whether no other process holds its lock.

    The system releases the lock when the file is closed or the process ends, also if it is killed. Forked processes do
    not inherit it. On a file system without locks, every process gets True.
    """
    return _try(file, fcntl.LOCK_EX)


def try_visible_lock(file: IO[Any]) -> bool:
    """Lock a file like `try_lock`, but so that other processes can look whether it is locked; see `is_locked`."""
    if not _try(file, fcntl.LOCK_EX, *HELD_BYTE):
        return False
    with contextlib.suppress(OSError):  # a file system without locks
        fcntl.lockf(file, fcntl.LOCK_EX, *SHOWN_BYTE)  # after waiting for processes that look just now
    return True


def is_locked(path: Path) -> bool:
    """Return whether another process holds the visible lock of a file. No process fails because of the look.

    This process must not hold the lock: it would lose it.
    """
    try:
        with path.open("rb") as file:
            return not _try(file, fcntl.LOCK_SH, *SHOWN_BYTE)
    except OSError:
        return False


def _try(file: IO[Any], lock: int, *part: int) -> bool:
    try:
        fcntl.lockf(file, lock | fcntl.LOCK_NB, *part)
    except (BlockingIOError, PermissionError):  # the two errors that POSIX allows for a taken lock
        return False
    except OSError:  # a file system without locks
        pass
    return True


@contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which is created, after waiting until no other process and no other thread holds it.

    The system releases the lock when the process ends, also if it is killed. On a file system without locks, nobody
    waits.
    """
    with path.open("ab") as file:
        with contextlib.suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
