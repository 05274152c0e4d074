"""Base class of datasets whose images are those of other datasets."""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import VisionDataset
from visionkit.structures import Annotation, Color, Sample


class DelegatingDataset(ABC):
    """Base class of datasets that read every image from another dataset.

    Args:
        first: dataset that the class names, ids and colors are taken from.
        report: see `VisionDataset`.
    """

    def __init__(self, first: VisionDataset, report: dict[str, int]) -> None:
        self.class_names: list[str] = first.class_names
        self.category_ids: list[int] = first.category_ids
        self.class_colors: list[Color] | None = first.class_colors
        self.report = report

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def locate(self, index: int) -> tuple[VisionDataset, int]:
        """Return the dataset that has the image, and the image's index in it."""

    def __getitem__(self, index: int) -> Sample:
        dataset, inner = self.locate(index)
        return dataset[inner]

    def image_id(self, index: int) -> int | str:
        """See `VisionDataset`."""
        dataset, inner = self.locate(index)
        return dataset.image_id(inner)

    def annotation(self, index: int) -> Annotation:
        """See `VisionDataset`."""
        dataset, inner = self.locate(index)
        return dataset.annotation(inner)

    def image_size(self, index: int) -> tuple[int, int]:
        """See `VisionDataset`."""
        dataset, inner = self.locate(index)
        return dataset.image_size(inner)

    def label(self, index: int) -> int | None:
        """See `VisionDataset`."""
        dataset, inner = self.locate(index)
        return dataset.label(inner)

    def tags(self, index: int) -> NDArray[np.int64] | None:
        """See `VisionDataset`."""
        dataset, inner = self.locate(index)
        return dataset.tags(inner)

    def has_semantic(self, index: int) -> bool:
        """See `VisionDataset`."""
        dataset, inner = self.locate(index)
        return dataset.has_semantic(inner)

    def semantic(self, index: int) -> NDArray[np.uint8] | None:
        """See `VisionDataset`."""
        dataset, inner = self.locate(index)
        return dataset.semantic(inner)
