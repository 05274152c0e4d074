"""Writing files atomically."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file for writing that replaces `path` when the block ends without an error.

    Other processes never see a partly written file, also if this process is stopped. The folder is created if it
    does not exist.

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
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
