"""Base class of the formats that have image files with objects."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.annotation_table import AnnotationTable
from visionkit.data.datasets.base import AnnotationKind, NoSemanticMasks
from visionkit.data.datasets.coco_masks import CocoMasks
from visionkit.data.datasets.image_reader import ImageReader
from visionkit.data.io.images import ImageArray
from visionkit.errors import DataError
from visionkit.structures import Annotation, Sample


class DetectionDataset(ImageReader, NoSemanticMasks):
    """Base class: image files in a folder, and the objects of all images in a table.

    A subclass sets the attributes in its constructor.

    Attributes:
        annotation_kinds: kinds of annotation that the format can have.
        image_folder: folder that `file_names` are relative to.
        file_names: file name of each image.
        image_ids: the dataset's own id of each image.
        sizes: int64 [images, 2], (height, width) in pixels as stated by the annotations.
        objects: the objects of all images.
        object_masks: the masks of the objects, in the order of `objects`; None if masks are not read.
        class_names, category_ids, report: see `VisionDataset`.
    """

    annotation_kinds: ClassVar[tuple[AnnotationKind, ...]] = ("boxes", "tags")
    image_folder: Path
    file_names: Sequence[str]
    image_ids: Sequence[int | str]
    sizes: NDArray[np.int64]
    objects: AnnotationTable
    object_masks: CocoMasks | None = None
    class_names: list[str]
    category_ids: list[int]
    report: dict[str, int]

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> Sample:
        image, stated = self.image(index), self.image_size(index)
        if image.shape[:2] != stated:
            path = self.image_folder / self.file_names[index]
            raise DataError(
                f"{path} has {image.shape[0]} x {image.shape[1]} pixels (height x width, after EXIF rotation), "
                f"but its annotation says {stated[0]} x {stated[1]}"
            )
        image_id, annotation = self.image_id(index), self.annotation(index)
        return Sample(image, image_id, self.file_names[index], annotation, tags=self.tags(index))

    def image(self, index: int) -> ImageArray:
        """Return the image, uint8 [H, W, 3], RGB."""
        return self.read(self.image_folder / self.file_names[index])

    def path(self, index: int) -> Path | None:
        """See `ImageReader`."""
        return self.image_folder / self.file_names[index]

    def image_id(self, index: int) -> int | str:
        """See `VisionDataset`."""
        return self.image_ids[index]

    def annotation(self, index: int) -> Annotation:
        """See `VisionDataset`."""
        annotation = self.objects.annotation(index)
        if self.object_masks is not None:
            rows = range(*self.objects.rows(index).indices(len(self.objects)))
            annotation.masks = [self.object_masks.code(row, self.image_size(index)) for row in rows]
        return annotation

    def image_size(self, index: int) -> tuple[int, int]:
        """See `VisionDataset`; the size that the annotations state."""
        height, width = self.sizes[index].tolist()
        return height, width

    def label(self, index: int) -> int | None:
        """Return None: an image with several objects has no single class."""
        return None

    def tags(self, index: int) -> NDArray[np.int64]:
        """Return the classes of the image's objects, ascending."""
        return np.unique(self.objects.annotation(index).labels)
