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
    while isinstance(dataset, DelegatingDataset):
        dataset, index = dataset.locate(index)
    return dataset.path(index) if isinstance(dataset, ImageReader) else None
