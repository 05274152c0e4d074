"""Base classes of the formats that have one class per image and no objects (folder, csv, cifar, mnist, arrays)."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import AnnotationKind, NoSemanticMasks
from visionkit.data.datasets.class_checks import check_class_names
from visionkit.data.datasets.image_reader import ImageReader
from visionkit.data.datasets.packed_sequence import PackedSequence
from visionkit.data.io.bad_files import BadFilePolicy, find_readable
from visionkit.data.io.images import ImageArray, image_size
from visionkit.structures import Annotation, Sample


class ClassificationDataset(NoSemanticMasks, ABC):
    """Base class: images with one class each, from any source.

    A subclass sets the attributes in its constructor.

    Attributes:
        annotation_kinds: kinds of annotation that the format can have.
        labels: int64 [images], 0..K-1; -1 if the image has no single class.
        class_names, category_ids, report: see `VisionDataset`.
    """

    annotation_kinds: ClassVar[tuple[AnnotationKind, ...]] = ("label", "tags")
    labels: NDArray[np.int64]
    class_names: list[str]
    category_ids: list[int]
    report: dict[str, int]

    @abstractmethod
    def image(self, index: int) -> ImageArray:
        """Return the image, uint8 [H, W, 3], RGB."""

    @abstractmethod
    def name(self, index: int) -> str:
        """Return the name of the image, which is also its id; it must be the same in every run."""

    def set_class_names(self, names: list[str]) -> None:
        """Set the class names; the category ids become 1..K, because these formats store none.

        Raises:
            DataError: a name is not usable, see `check_class_names`.
        """
        check_class_names(names)
        self.class_names, self.category_ids = names, list(range(1, len(names) + 1))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Sample:
        name, image_id = self.name(index), self.image_id(index)
        return Sample(self.image(index), image_id, name, label=self.label(index), tags=self.tags(index))

    def image_id(self, index: int) -> str:
        """Return the name of the image."""
        return self.name(index)

    def label(self, index: int) -> int | None:
        """See `VisionDataset`."""
        label = int(self.labels[index])
        return None if label < 0 else label

    def tags(self, index: int) -> NDArray[np.int64] | None:
        """Return the image's class as the only tag; see `VisionDataset`."""
        return None if self.labels[index] < 0 else self.labels[index : index + 1].copy()

    def annotation(self, index: int) -> Annotation:
        """Return an empty annotation: the objects are unknown."""
        return Annotation()

    def image_size(self, index: int) -> tuple[int, int]:
        """Return (height, width) in pixels; this decodes the image, because its size is stored nowhere else."""
        height, width = self.image(index).shape[:2]
        return height, width


class ClassificationFileDataset(ImageReader, ClassificationDataset):
    """Base class: image files with one class each, or with any number.

    Args:
        folder: folder of the images.
        names: file name of each image, relative to `folder`.
        labels: int64 [images], class of each image.
        on_bad_file: raise an error for unreadable files, or skip them. skip reads every file once at the start.
        report: counts by reason, which are added to.
        tags: indices of the classes of each image, ascending; None if each has the one of `labels`.

    Attributes:
        kept: bool, one per name given: whether the image is part of the dataset.
    """

    def __init__(
        self,
        folder: Path,
        names: Sequence[str],
        labels: NDArray[np.int64],
        on_bad_file: BadFilePolicy,
        report: dict[str, int],
        tags: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self.folder, self.report = folder, report
        self.kept = find_readable(folder, names, on_bad_file, report)
        self.names = PackedSequence([name for name, keep in zip(names, self.kept, strict=True) if keep])
        self.labels = labels[self.kept]
        self._tags: NDArray[np.int64] | None = None
        if tags is not None:
            kept = [own for own, keep in zip(tags, self.kept, strict=True) if keep]
            self._tags = np.array([tag for own in kept for tag in own], np.int64)
            self._tag_ends = np.cumsum([0, *map(len, kept)])

    def tags(self, index: int) -> NDArray[np.int64] | None:
        """See `VisionDataset`."""
        if self._tags is None:
            return super().tags(index)
        return self._tags[self._tag_ends[index] : self._tag_ends[index + 1]].copy()

    def image(self, index: int) -> ImageArray:
        """See `ClassificationDataset`."""
        return self.read(self.path(index))

    def path(self, index: int) -> Path:
        """Return the path of the image file."""
        return self.folder / self.names[index]

    def name(self, index: int) -> str:
        """Return the file name relative to `folder`."""
        return self.names[index]

    def image_size(self, index: int) -> tuple[int, int]:
        """Return (height, width) in pixels after EXIF rotation, from the file's header."""
        return image_size(self.path(index))
