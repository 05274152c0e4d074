"""What all readers of pictures with a class, and without objects, share."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visionkit.data.bad_files import BadFiles, readable
from visionkit.data.columns import PackedObjects
from visionkit.data.pictures import Picture, picture_size, read_picture
from visionkit.data.sample import Annotation, Sample, WithoutMasks
from visionkit.errors import DataError


class LabelledPictures(WithoutMasks, ABC):
    """Base of the readers that know the class of each picture. A reader fills the attributes.

    Attributes:
        labels: int64 [pictures], 0..K-1; -1 where the picture has no single class.
        class_names, category_ids, report: see `VisionDataset`.
    """

    labels: NDArray[np.int64]
    class_names: list[str]
    category_ids: list[int]
    report: dict[str, int]

    @abstractmethod
    def picture(self, index: int) -> Picture:
        """The picture alone, uint8 [H, W, 3], RGB."""

    @abstractmethod
    def name(self, index: int) -> str:
        """What to call the picture: its id, and the same in every run."""

    def name_classes(self, names: list[str]) -> None:
        """Take these class names, and 1..K for the ids that such formats lack."""
        self.class_names, self.category_ids = names, list(range(1, len(names) + 1))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Sample:
        name, image_id = self.name(index), self.image_id(index)
        return Sample(self.picture(index), image_id, name, label=self.label(index), tags=self.tags(index))

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

    def picture_size(self, index: int) -> tuple[int, int]:
        """(height, width) in pixels; decodes the picture, because nothing else states its size."""
        height, width = self.picture(index).shape[:2]
        return height, width


class LabelledFiles(LabelledPictures):
    """Base of the readers whose pictures are files.

    Args:
        folder: where the pictures lie.
        names: file name of each, relative to `folder`.
        labels: int64 [pictures], class of each.
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
        self.names = PackedObjects([name for name, keep in zip(names, self.kept, strict=True) if keep])
        self.labels = labels[self.kept]

    def picture(self, index: int) -> Picture:
        """See `LabelledPictures`."""
        return read_picture(self.folder / self.names[index])

    def name(self, index: int) -> str:
        """The file name relative to `folder`."""
        return str(self.names[index])

    def picture_size(self, index: int) -> tuple[int, int]:
        """(height, width) in pixels after EXIF rotation, from the file's header."""
        return picture_size(self.folder / self.names[index])


def stored_classes(stored: list[str], listed: list[str] | None, source: object) -> list[str]:
    """The classes of a data set that stores their names.

    Args:
        stored: names in label order, as its files have them.
        listed: `data.classes` of the card.
        source: file, for messages.

    Raises:
        DataError: `listed` says something else.
    """
    if listed is not None and listed != stored:
        raise DataError(f"data.classes must be left out or equal the names that {source} has: {stored}"[:400])
    return stored


def refuse_single_class(class_names: Sequence[str], source: object) -> None:
    """Raise DataError where there is nothing to tell apart."""
    if len(class_names) < 2:
        raise DataError(f"{source} has {len(class_names)} class ({', '.join(class_names)}); at least two are needed")


def refuse_wrong_labels(labels: NDArray[np.int64], pictures: int, class_names: Sequence[str], source: object) -> None:
    """Raise DataError where labels do not fit their pictures or classes.

    Args:
        labels: int64 [N].
        pictures: number of pictures, which N must equal.
        class_names: K names; labels must be 0..K-1.
        source: file, for messages.
    """
    if len(labels) != pictures or not pictures:
        raise DataError(f"{source} has {pictures} pictures and {len(labels)} labels")
    wrong = (labels < 0) | (labels >= len(class_names))
    if wrong.any():
        index = int(wrong.argmax())
        last = len(class_names) - 1
        raise DataError(f"{source}: picture {index} has the label {labels[index]}; the classes are 0 to {last}")
