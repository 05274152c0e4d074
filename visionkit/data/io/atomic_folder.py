"""Writing folders atomically: a folder appears when it is complete."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from visionkit.errors import WriteError


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Create a temporary folder beside `path` that is renamed to it when the block ends without an error.

    The temporary folder is hidden. It is removed if the block fails.

    Raises:
        WriteError: `path` exists and is not an empty folder, or a file cannot be written.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from visionkit.data.io.atomic_folder import atomic_folder
        >>> path = Path(tempfile.mkdtemp()) / "new"
        >>> with atomic_folder(path) as folder:
        ...     _ = (folder / "a.txt").write_text("content")
        >>> (path / "a.txt").read_text()
        'content'
    """
    target = path.resolve()  # a folder can be renamed to an empty one, but not to a link to it
    check_new(path)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.visionkit-tmp")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        temporary.rename(target)
    except OSError as error:
        raise WriteError(f"{path} could not be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_new(path: Path) -> None:
    """Check that `path` does not exist, or is an empty folder.

    Raises:
        WriteError: it is a file, or a folder with files.
    """
    try:
        is_new = not path.exists() or (path.is_dir() and not any(path.iterdir()))
    except OSError as error:
        raise WriteError(f"{path} cannot be read: {error.strerror}") from error
    if not is_new:
        raise WriteError(f"{path} exists already, and nothing is written into it\ngive another folder, or remove it")
