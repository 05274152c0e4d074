"""What all readers of images with a class, and without objects, share."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.annotation_table import PackedSequence
from visionkit.data.datasets.base import NoSemanticMasks
from visionkit.data.io.bad_files import BadFiles, readable
from visionkit.data.io.images import ImageArray, image_size, read_image
from visionkit.errors import DataError
from visionkit.structures import Annotation, Sample


class ClassificationDataset(NoSemanticMasks, ABC):
    """Base of the readers that know the class of each image. A reader fills the attributes.

    Attributes:
        labels: int64 [images], 0..K-1; -1 where the image has no single class.
        class_names, category_ids, report: see `VisionDataset`.
    """

    labels: NDArray[np.int64]
    class_names: list[str]
    category_ids: list[int]
    report: dict[str, int]

    @abstractmethod
    def image(self, index: int) -> ImageArray:
        """The image alone, uint8 [H, W, 3], RGB."""

    @abstractmethod
    def name(self, index: int) -> str:
        """What to call the image: its id, and the same in every run."""

    def name_classes(self, names: list[str]) -> None:
        """Take these class names, and 1..K for the ids that such formats lack."""
        self.class_names, self.category_ids = names, list(range(1, len(names) + 1))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Sample:
        name, image_id = self.name(index), self.image_id(index)
        return Sample(self.image(index), image_id, name, label=self.label(index), tags=self.tags(index))

    def image_id(self, index: int) -> str:
        """The name."""
        return self.name(index)

    def label(self, index: int) -> int | None:
        """See `VisionDataset`."""
        label = int(self.labels[index])
        return None if label < 0 else label

    def tags(self, index: int) -> NDArray[np.int64] | None:
        """The one class; see `VisionDataset`."""
        return None if self.labels[index] < 0 else self.labels[index : index + 1].copy()

    def annotation(self, index: int) -> Annotation:
        """No objects: nothing is known of them."""
        return Annotation()

    def image_size(self, index: int) -> tuple[int, int]:
        """(height, width) in pixels; decodes the image, because nothing else states its size."""
        height, width = self.image(index).shape[:2]
        return height, width


class ClassificationFiles(ClassificationDataset):
    """Base of the readers whose images are files.

    Args:
        folder: where the images lie.
        names: file name of each, relative to `folder`.
        labels: int64 [images], class of each.
        on_bad_file: what becomes of files that cannot be read, see `readable`.
        report: counts by reason, added to.

    Attributes:
        kept: bool [of the names given], which can be read.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        labels: NDArray[np.int64],
        on_bad_file: BadFiles,
        report: dict[str, int],
    ) -> None:
        self.folder, self.report = folder, report
        self.kept = readable(folder, names, on_bad_file, report)
        self.names = PackedSequence([name for name, keep in zip(names, self.kept, strict=True) if keep])
        self.labels = labels[self.kept]

    def image(self, index: int) -> ImageArray:
        """See `ClassificationDataset`."""
        return read_image(self.folder / self.names[index])

    def name(self, index: int) -> str:
        """The file name relative to `folder`."""
        return str(self.names[index])

    def image_size(self, index: int) -> tuple[int, int]:
        """(height, width) in pixels after EXIF rotation, from the file's header."""
        return image_size(self.folder / self.names[index])


def stored_classes(stored: list[str], requested: list[str] | None, source: object) -> list[str]:
    """The classes of a data set that stores their names.

    Args:
        stored: names in label order, as its files have them.
        requested: `data.classes` of the card.
        source: file, for messages.

    Raises:
        DataError: `requested` differs from `stored`.
    """
    if requested is not None and requested != stored:
        raise DataError(f"data.classes must be left out or equal the names that {source} has: {stored}"[:400])
    return stored


def refuse_single_class(class_names: Sequence[str], source: object) -> None:
    """Raise DataError where there is nothing to tell apart."""
    if len(class_names) < 2:
        raise DataError(f"{source} has {len(class_names)} class ({', '.join(class_names)}); at least two are needed")


def refuse_wrong_labels(labels: NDArray[np.int64], images: int, class_names: Sequence[str], source: object) -> None:
    """Raise DataError where labels do not fit their images or classes.

    Args:
        labels: int64 [N].
        images: number of images, which N must equal.
        class_names: K names; labels must be 0..K-1.
        source: file, for messages.
    """
    if len(labels) != images or not images:
        raise DataError(f"{source} has {images} images and {len(labels)} labels")
    wrong = (labels < 0) | (labels >= len(class_names))
    if wrong.any():
        index = int(wrong.argmax())
        last = len(class_names) - 1
        raise DataError(f"{source}: image {index} has the label {labels[index]}; the classes are 0 to {last}")
