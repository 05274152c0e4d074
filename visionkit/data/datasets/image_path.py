"""Files of the images of any dataset."""

from pathlib import Path

from visionkit.data.datasets.base import VisionDataset
from visionkit.data.datasets.delegating import DelegatingDataset
from visionkit.data.datasets.image_reader import ImageReader


def image_path(dataset: VisionDataset, index: int) -> Path | None:
    """Return the path of an image's file, also if the dataset is a part of another one; None if it has no file.

    Example:
        >>> from visionkit.data.datasets.image_path import image_path
        >>> from visionkit.data.datasets.shapes import Shapes
        >>> image_path(Shapes(count=1, size=64), 0) is None
        True
    """
    dataset, index = _located(dataset, index)
    return dataset.path(index) if isinstance(dataset, ImageReader) else None


def encoded_image(dataset: VisionDataset, index: int) -> bytes | None:
    """Return the content of an image's file, also if it is part of another file; None if it has no file."""
    dataset, index = _located(dataset, index)
    return dataset.encoded(index) if isinstance(dataset, ImageReader) else None


def _located(dataset: VisionDataset, index: int) -> tuple[VisionDataset, int]:
    """Return the dataset that reads an image itself, and the image's index in it."""
    while isinstance(dataset, DelegatingDataset):
        dataset, index = dataset.locate(index)
    return dataset, index


def image_name(dataset: VisionDataset, index: int, root: Path | None) -> str:
    """Return the path of an image's file below `root`, with "/"; the whole path outside of it, or the id without file.

    Example:
        >>> from visionkit.data.datasets.image_path import image_name
        >>> from visionkit.data.datasets.shapes import Shapes
        >>> image_name(Shapes(count=5, size=64), 3, None)
        '3'
    """
    path = image_path(dataset, index)
    if path is None:
        return str(dataset.image_id(index))
    return (path.relative_to(root) if root is not None and path.is_relative_to(root) else path).as_posix()
