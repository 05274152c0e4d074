"""Folders that a user gives for results."""

from collections.abc import Collection
from pathlib import Path

from visionkit.errors import ConfigError, WriteError


def empty_folder(folder: Path, ignored: Collection[str] = ()) -> Path:
    """Create a folder if it does not exist, and return it.

    Args:
        folder: the folder.
        ignored: names of files that it may contain.

    Raises:
        ConfigError: the folder contains files.
        WriteError: the folder cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(path.name not in ignored for path in folder.iterdir()):
            raise ConfigError(f"{folder} contains files, which could be overwritten\ngive a new or empty folder")
    except OSError as error:
        raise WriteError(f"the folder {folder} cannot be written: {error.strerror}") from error
    return folder
