"""Files of the images of a dataset, by which images of several data cards are recognized."""

import os
from pathlib import Path

from visionkit.data.datasets.base import VisionDataset
from visionkit.data.datasets.image_path import image_path


def image_files(dataset: VisionDataset) -> list[str | None]:
    """Return the absolute path of each image's file, with symbolic links followed; None for images without a file.

    Example:
        >>> from visionkit.data.datasets.shapes import Shapes
        >>> from visionkit.data.multi.image_files import image_files
        >>> image_files(Shapes(count=2, size=64))
        [None, None]
    """
    folders: dict[str, str] = {}
    paths = (image_path(dataset, index) for index in range(len(dataset)))
    return [None if path is None else _resolved(path, folders) for path in paths]


def _resolved(path: Path, folders: dict[str, str]) -> str:
    """Return the resolved path. `folders` keeps the resolved folders, because to resolve one takes many file calls."""
    if os.path.islink(path):
        return os.path.realpath(path)
    folder, name = os.path.split(path)
    if folder not in folders:
        folders[folder] = os.path.realpath(folder)
    return os.path.join(folders[folder], name)
