"""Lock of a run folder, so that only one process trains in it."""

import contextlib
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from visionkit.data.io.file_lock import try_visible_lock
from visionkit.errors import VisionkitError, WriteError

NAME = ".lock"


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder.

    The system releases the lock when this process ends, also if it is killed. It is not inherited by forked loader
    processes, which can outlive a killed process by a few seconds.

    Raises:
        VisionkitError: another process trains in the folder.
        WriteError: the folder cannot be written.
    """
    try:
        file = (folder / NAME).open("a+", encoding="utf-8")
    except OSError as error:
        raise WriteError(f"the run folder {folder} cannot be written: {error.strerror}") from error
    with file:
        if not try_visible_lock(file):
            file.seek(0)
            raise VisionkitError(
                f"the run {folder} is being trained by {file.read().strip() or 'another process'}\n"
                "wait until it ends, or leave out --resume to start a new run"
            )
        with contextlib.suppress(OSError):  # a full disk
            os.ftruncate(file.fileno(), 0)
            os.write(file.fileno(), f"process {os.getpid()} on {socket.gethostname()}\n".encode())
        yield
