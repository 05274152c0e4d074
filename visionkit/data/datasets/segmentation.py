"""What all readers of images with a class for each pixel share."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.annotation_table import PackedSequence
from visionkit.data.datasets.image_mask_pairs import Pairs
from visionkit.data.io.bad_files import BadFiles, readable
from visionkit.data.io.images import image_size, read_image
from visionkit.data.io.masks import MOST_CLASSES, Mask, MaskCoding, read_mask
from visionkit.errors import DataError
from visionkit.structures import Annotation, Color, Sample
from visionkit.text import format_list

BACKGROUND = "background"
"""What the class of no object is called."""


class SegmentationDataset(ABC):
    """Base of the readers of image files whose pixels have classes, without single objects.

    Attributes:
        class_names, category_ids, report, class_colors: see `VisionDataset`.
    """

    class_names: list[str]
    category_ids: list[int]
    report: dict[str, int]
    class_colors: list[Color] | None

    def name_classes(self, names: list[str], ids: list[int], colors: list[Color] | None) -> None:
        """Take these classes, in label order, with their ids and colors.

        Raises:
            DataError: there are too few or too many of them, or one stands twice.
        """
        if not 2 <= len(names) <= MOST_CLASSES or len(set(names)) < len(names):
            raise DataError(
                f"a mask has from 2 to {MOST_CLASSES} classes of different names, not {len(names)}: "
                f"{format_list(names)}"
            )
        self.class_names, self.category_ids, self.class_colors = names, ids, colors

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def path(self, index: int) -> Path:
        """The image's file."""

    @abstractmethod
    def name(self, index: int) -> str:
        """The image's file relative to the folder of images."""

    @abstractmethod
    def semantic(self, index: int) -> Mask:
        """See `VisionDataset`."""

    def image_id(self, index: int) -> int | str:
        """The data set's own id of the image."""
        return self.name(index)

    def __getitem__(self, index: int) -> Sample:
        image, mask = read_image(self.path(index)), self.semantic(index)
        if image.shape[:2] != mask.shape:
            raise DataError(
                f"{self.path(index)} is {image.shape[0]} x {image.shape[1]} pixels (height x width, after EXIF "
                f"rotation), its mask {mask.shape[0]} x {mask.shape[1]}"
            )
        return Sample(image, self.image_id(index), self.name(index), semantic=mask)

    def has_semantic(self, index: int) -> bool:
        """Yes: every image."""
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

    def image_size(self, index: int) -> tuple[int, int]:
        """(height, width) in pixels after EXIF rotation, from the file's header."""
        return image_size(self.path(index))


class SegmentationFiles(SegmentationDataset):
    """Base of the readers that have a mask file for each image file.

    Args:
        pairs: which belong together.
        coding: what the values of the masks mean.
        on_bad_file: what becomes of files that cannot be read, see `readable`.
        report: counts by reason, added to.
    """

    def __init__(self, pairs: Pairs, coding: MaskCoding, on_bad_file: BadFiles, report: Counter[str]) -> None:
        self.report = report
        images = readable(pairs.image_folder, pairs.images, on_bad_file, report)
        masks = readable(pairs.mask_folder, pairs.masks, on_bad_file, report, read_mask, "masks")
        kept = pairs.chosen(images & masks)
        self.image_folder, self.mask_folder, self.coding = pairs.image_folder, pairs.mask_folder, coding
        self.names: Sequence[str] = PackedSequence(kept.images)
        self.mask_names: Sequence[str] = PackedSequence(kept.masks)

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> Path:
        """See `SegmentationDataset`."""
        return self.image_folder / self.name(index)

    def name(self, index: int) -> str:
        """See `SegmentationDataset`."""
        return str(self.names[index])

    def semantic(self, index: int) -> Mask:
        """See `VisionDataset`."""
        return self.coding.read(self.mask_folder / str(self.mask_names[index]))
