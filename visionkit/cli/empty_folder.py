"""Folders that a user gives for results."""

from pathlib import Path

from visionkit.errors import ConfigError, WriteError


def empty_folder(folder: Path) -> Path:
    """Create a folder if it does not exist, and return it.

    Raises:
        ConfigError: the folder contains files.
        WriteError: the folder cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise ConfigError(f"{folder} contains files, which could be overwritten\ngive a new or empty folder")
    except OSError as error:
        raise WriteError(f"the folder {folder} cannot be written: {error.strerror}") from error
    return folder
