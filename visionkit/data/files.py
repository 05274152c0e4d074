"""What all readers of picture files share, whatever form their annotations have."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visionkit.data.columns import AnnotationColumns
from visionkit.data.pictures import read_picture
from visionkit.data.sample import Annotation, Sample, WithoutMasks
from visionkit.errors import DataError


class PictureFiles(WithoutMasks):
    """Base of the readers: pictures in a folder, their annotations in columns. A reader fills the attributes.

    Attributes:
        source: the annotation file, for messages.
        pictures: folder that `names` are relative to.
        names: file name of each picture.
        ids: the data set's own id of each picture.
        sizes: int64 [pictures, 2], (height, width) in pixels as the annotations state it.
        columns: the objects of all pictures.
        class_names, category_ids, report: see `VisionDataset`.
    """

    source: Path
    pictures: Path
    names: Sequence[str]
    ids: Sequence[Any]
    sizes: NDArray[np.int64]
    columns: AnnotationColumns
    class_names: list[str]
    category_ids: list[int]
    report: dict[str, int]

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Sample:
        path = self.pictures / self.names[index]
        picture = read_picture(path)
        stated = self.picture_size(index)
        if picture.shape[:2] != stated:
            raise DataError(
                f"{path} is {picture.shape[0]} x {picture.shape[1]} pixels (height x width, after EXIF rotation), "
                f"its annotation says {stated[0]} x {stated[1]}"
            )
        image_id, annotation = self.image_id(index), self.annotation(index)
        return Sample(picture, image_id, self.names[index], annotation, label=None, tags=self.tags(index))

    def image_id(self, index: int) -> int | str:
        """See `VisionDataset`."""
        image_id: int | str = self.ids[index]
        return image_id

    def annotation(self, index: int) -> Annotation:
        """See `VisionDataset`."""
        return self.columns.annotation(index)

    def label(self, index: int) -> int | None:
        """None: a picture of several objects has no single class."""
        return None

    def tags(self, index: int) -> NDArray[np.int64]:
        """The classes of the picture's objects, rising."""
        return np.unique(self.columns.annotation(index).labels)

    def picture_size(self, index: int) -> tuple[int, int]:
        """See `VisionDataset`."""
        height, width = self.sizes[index].tolist()
        return height, width
