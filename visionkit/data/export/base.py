"""The contract of the writers of datasets, and their registry."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle
from typing_extensions import Self

from visionkit.data.export.outlines import is_box
from visionkit.registry import Registry
from visionkit.structures import Annotation, Color

Feature = Literal[
    "objects", "masks", "holes", "parts", "boxes beside masks", "thin boxes", "crowd", "difficult",
    "category ids", "image ids", "image classes", "semantic",
]  # fmt: skip
"""What a dataset can have and a format cannot hold, see `losses.DESCRIPTIONS`."""


@dataclass(frozen=True)
class ExportClasses:
    """Classes in label order: their names, the ids of the dataset, and colors of masks (None for default colors)."""

    names: list[str]
    ids: list[int]
    colors: list[Color] | None = None


@dataclass
class ExportImage:
    """An image as a writer gets it. Its file is written already.

    Attributes:
        split: train, val or test.
        number: integer id, which differs from those of the other images of the split.
        name: name of its file, which differs from those of the other images of the split also without suffix.
        size: (height, width) in pixels after EXIF rotation.
        annotation: its objects.
        scores: score of each object, float32 [N]; None for ground truth.
        semantic: semantic mask, uint8 [H, W] with 255 = ignore; None if it has none.
    """

    split: str
    number: int
    name: str
    size: tuple[int, int]
    annotation: Annotation = field(default_factory=Annotation)
    scores: NDArray[np.float32] | None = None
    semantic: NDArray[np.uint8] | None = None

    @property
    def stem(self) -> str:
        """The file name without suffix."""
        return PurePosixPath(self.name).stem

    def outlined(self, index: int) -> bool:
        """Return whether an object has a mask, and this is neither empty nor just its box."""
        masks = self.annotation.masks
        return (
            masks is not None and rle.area(masks[index]) > 0 and not is_box(masks[index], self.annotation.boxes[index])
        )


class DatasetWriter(ABC):
    """Base class: writes the annotations of a dataset into a folder, image by image.

    It is a context manager. `finish` completes the files at the end of a block without an error.

    Args:
        folder: the folder, which exists.
        classes: the classes.
        with_scores: whether scores are written.

    Attributes:
        format: name of the data format that reads the result.
        holds: what the format can hold; objects that are crowds are left out of a format without "crowd".
        first_id: id of the first class in the result, if the format does not hold the ids.
        has_split_folders: whether each split has a folder of its own, so that names of two splits may be the same.
        spaces_in_names: whether names of image files may have spaces; otherwise they become "_".

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from visionkit.data.export.base import ExportClasses, ExportImage, writers
        >>> folder = Path(tempfile.mkdtemp())
        >>> with writers.get("yolo")(folder, ExportClasses(["cat"], [1])) as writer:
        ...     writer.write(ExportImage("train", 1, "a.png", (48, 64)))
        >>> writer.split_options("train")
        {'split': 'train'}
    """

    format: ClassVar[str]
    holds: ClassVar[frozenset[Feature]]
    first_id: ClassVar[int] = 1
    spaces_in_names: ClassVar[bool] = True
    has_split_folders: ClassVar[bool] = True

    def __init__(self, folder: Path, classes: ExportClasses, with_scores: bool = False) -> None:
        self.folder, self.classes, self.with_scores = folder, classes, with_scores

    def image_folder(self, split: str) -> str:
        """Return the folder of the image files of a split, relative to the folder of the dataset."""
        return f"images/{split}"

    @abstractmethod
    def write(self, image: ExportImage) -> None:
        """Write the annotation of an image."""

    def finish(self) -> None:  # noqa: B027  # nothing by default
        """Write what belongs to all images."""

    def close(self) -> None:  # noqa: B027  # nothing by default
        """Close the open files."""

    @abstractmethod
    def split_options(self, split: str) -> dict[str, Any]:
        """Return the options with which the format reads a split of the result."""

    def card_options(self) -> dict[str, Any]:
        """Return further keys of the `data` section of the result's card."""
        return {}

    def kept(self, annotation: Annotation) -> list[int]:
        """Return the indices of the objects that are written."""
        return [index for index in range(len(annotation)) if "crowd" in self.holds or not annotation.crowd[index]]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            if error is None:
                self.finish()
        finally:
            self.close()


writers: Registry[type[DatasetWriter]] = Registry("export format", "visionkit.data.export")
"""Writers by the name of their format, called as `cls(folder, classes, with_scores)`."""
