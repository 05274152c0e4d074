"""Locks of files, so that only one process writes to them."""

import contextlib
import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


def try_lock(file: IO[Any]) -> bool:
    """Lock a file that is open for writing, and return whether no other process holds its lock.

    The system releases the lock when the file is closed or the process ends, also if it is killed. Forked processes do
    not inherit it. On a file system without locks, every process gets True.
    """
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
