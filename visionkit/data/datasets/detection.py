"""What all readers of image files share, whatever form their annotations have."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.annotation_table import AnnotationTable
from visionkit.data.datasets.base import NoSemanticMasks
from visionkit.data.io.images import read_image
from visionkit.errors import DataError
from visionkit.structures import Annotation, Sample


class DetectionFiles(NoSemanticMasks):
    """Base of the readers: images in a folder, their annotations in columns. A reader fills the attributes.

    Attributes:
        source: the annotation file, for messages.
        images: folder that `names` are relative to.
        names: file name of each image.
        ids: the data set's own id of each image.
        sizes: int64 [images, 2], (height, width) in pixels as the annotations state it.
        columns: the objects of all images.
        class_names, category_ids, report: see `VisionDataset`.
    """

    source: Path
    images: Path
    names: Sequence[str]
    ids: Sequence[Any]
    sizes: NDArray[np.int64]
    columns: AnnotationTable
    class_names: list[str]
    category_ids: list[int]
    report: dict[str, int]

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Sample:
        path = self.images / self.names[index]
        image = read_image(path)
        stated = self.image_size(index)
        if image.shape[:2] != stated:
            raise DataError(
                f"{path} is {image.shape[0]} x {image.shape[1]} pixels (height x width, after EXIF rotation), "
                f"its annotation says {stated[0]} x {stated[1]}"
            )
        image_id, annotation = self.image_id(index), self.annotation(index)
        return Sample(image, image_id, self.names[index], annotation, label=None, tags=self.tags(index))

    def image_id(self, index: int) -> int | str:
        """See `VisionDataset`."""
        image_id: int | str = self.ids[index]
        return image_id

    def annotation(self, index: int) -> Annotation:
        """See `VisionDataset`."""
        return self.columns.annotation(index)

    def label(self, index: int) -> int | None:
        """None: an image of several objects has no single class."""
        return None

    def tags(self, index: int) -> NDArray[np.int64]:
        """The classes of the image's objects, rising."""
        return np.unique(self.columns.annotation(index).labels)

    def image_size(self, index: int) -> tuple[int, int]:
        """See `VisionDataset`."""
        height, width = self.sizes[index].tolist()
        return height, width
