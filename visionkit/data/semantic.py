"""What all readers of pictures with a class for each pixel share."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visionkit.data.bad_files import BadFiles, readable
from visionkit.data.columns import PackedObjects
from visionkit.data.masks import MOST_CLASSES, Mask, MaskCoding, read_mask
from visionkit.data.pairs import Pairs
from visionkit.data.pictures import picture_size, read_picture
from visionkit.data.sample import Annotation, Colour, Sample
from visionkit.data.wording import listed
from visionkit.errors import DataError

BACKGROUND = "background"
"""What the class of no object is called."""


class SemanticPictures(ABC):
    """Base of the readers of picture files whose pixels have classes, without single objects.

    Attributes:
        class_names, category_ids, report, class_colours: see `VisionDataset`.
    """

    class_names: list[str]
    category_ids: list[int]
    report: dict[str, int]
    class_colours: list[Colour] | None

    def name_classes(self, names: list[str], ids: list[int], colours: list[Colour] | None) -> None:
        """Take these classes, in label order, with their ids and colours.

        Raises:
            DataError: there are too few or too many of them, or one stands twice.
        """
        if not 2 <= len(names) <= MOST_CLASSES or len(set(names)) < len(names):
            raise DataError(
                f"a mask has from 2 to {MOST_CLASSES} classes of different names, not {len(names)}: {listed(names)}"
            )
        self.class_names, self.category_ids, self.class_colours = names, ids, colours

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def path(self, index: int) -> Path:
        """The picture's file."""

    @abstractmethod
    def name(self, index: int) -> str:
        """The picture's file relative to the folder of pictures."""

    @abstractmethod
    def semantic(self, index: int) -> Mask:
        """See `VisionDataset`."""

    def image_id(self, index: int) -> int | str:
        """The data set's own id of the picture."""
        return self.name(index)

    def __getitem__(self, index: int) -> Sample:
        picture, mask = read_picture(self.path(index)), self.semantic(index)
        if picture.shape[:2] != mask.shape:
            raise DataError(
                f"{self.path(index)} is {picture.shape[0]} x {picture.shape[1]} pixels (height x width, after EXIF "
                f"rotation), its mask {mask.shape[0]} x {mask.shape[1]}"
            )
        return Sample(picture, self.image_id(index), self.name(index), semantic=mask)

    def has_semantic(self, index: int) -> bool:
        """Yes: every picture."""
        return True

    def annotation(self, index: int) -> Annotation:
        """No objects: nothing is known of them."""
        return Annotation()

    def label(self, index: int) -> int | None:
        """None: the classes are those of the pixels."""
        return None

    def tags(self, index: int) -> NDArray[np.int64] | None:
        """None: the mask would have to be read."""
        return None

    def picture_size(self, index: int) -> tuple[int, int]:
        """(height, width) in pixels after EXIF rotation, from the file's header."""
        return picture_size(self.path(index))


class MaskFiles(SemanticPictures):
    """Base of the readers that have a mask file for each picture file.

    Args:
        pairs: which belong together.
        coding: what the values of the masks mean.
        on_bad_file: what becomes of files that cannot be read, see `readable`.
        report: counts by reason, added to.
    """

    def __init__(self, pairs: Pairs, coding: MaskCoding, on_bad_file: BadFiles, report: Counter[str]) -> None:
        self.report = report
        pictures = readable(pairs.picture_folder, pairs.pictures, on_bad_file, report)
        masks = readable(pairs.mask_folder, pairs.masks, on_bad_file, report, read_mask, "masks")
        kept = pairs.chosen(pictures & masks)
        self.picture_folder, self.mask_folder, self.coding = pairs.picture_folder, pairs.mask_folder, coding
        self.names: Sequence[str] = PackedObjects(kept.pictures)
        self.mask_names: Sequence[str] = PackedObjects(kept.masks)

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> Path:
        """See `SemanticPictures`."""
        return self.picture_folder / self.name(index)

    def name(self, index: int) -> str:
        """See `SemanticPictures`."""
        return str(self.names[index])

    def semantic(self, index: int) -> Mask:
        """See `VisionDataset`."""
        return self.coding.read(self.mask_folder / str(self.mask_names[index]))
