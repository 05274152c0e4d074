"""Base classes of the formats that have a semantic mask per image (masks, cityscapes, voc_segmentation, coco_*)."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import AnnotationKind
from visionkit.data.datasets.class_checks import check_class_names
from visionkit.data.datasets.image_mask_pairs import ImageMaskPairs
from visionkit.data.datasets.image_reader import ImageReader
from visionkit.data.datasets.packed_sequence import PackedSequence
from visionkit.data.io.bad_files import BadFilePolicy, find_readable
from visionkit.data.io.images import image_size
from visionkit.data.io.masks import MAX_CLASSES, Mask, MaskDecoder, read_mask
from visionkit.errors import DataError
from visionkit.structures import Annotation, Color, Sample
from visionkit.text import format_list

BACKGROUND = "background"
"""Name of the class of pixels that belong to no object."""


def check_mask_classes(names: list[str]) -> None:
    """Raise DataError if there are too few or too many classes for a mask, or two have the same name."""
    check_class_names(names)
    if not 2 <= len(names) <= MAX_CLASSES or len(set(names)) < len(names):
        raise DataError(
            f"a semantic mask has 2 to {MAX_CLASSES} classes with different names, not {len(names)}: "
            f"{format_list(names)}"
        )


class SegmentationDataset(ImageReader, ABC):
    """Base class: image files with a semantic mask each, from any source, without objects.

    A subclass sets the attributes in its constructor.

    Attributes:
        annotation_kinds: kinds of annotation that the format can have.
        class_names, category_ids, report, class_colors: see `VisionDataset`.
    """

    annotation_kinds: ClassVar[tuple[AnnotationKind, ...]] = ("semantic",)
    class_names: list[str]
    category_ids: list[int]
    report: dict[str, int]
    class_colors: list[Color] | None

    def set_classes(self, names: list[str], ids: list[int], colors: list[Color] | None) -> None:
        """Set the names, ids and colors of the classes, in label order.

        Raises:
            DataError: there are too few or too many classes, or two have the same name.
        """
        check_mask_classes(names)
        self.class_names, self.category_ids, self.class_colors = names, ids, colors

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def path(self, index: int) -> Path:
        """Return the path of the image file."""

    @abstractmethod
    def name(self, index: int) -> str:
        """Return the path of the image file relative to the folder of images."""

    @abstractmethod
    def semantic(self, index: int) -> Mask:
        """See `VisionDataset`."""

    def image_id(self, index: int) -> int | str:
        """Return the dataset's own id of the image, by default its file name."""
        return self.name(index)

    def __getitem__(self, index: int) -> Sample:
        image, mask = self.read(self.path(index)), self.semantic(index)
        if image.shape[:2] != mask.shape:
            raise DataError(
                f"{self.path(index)} has {image.shape[0]} x {image.shape[1]} pixels (height x width, after EXIF "
                f"rotation), but its mask has {mask.shape[0]} x {mask.shape[1]}"
            )
        return Sample(image, self.image_id(index), self.name(index), semantic=mask)

    def has_semantic(self, index: int) -> bool:
        """Return True: every image has a mask."""
        return True

    def annotation(self, index: int) -> Annotation:
        """Return an empty annotation: the objects are unknown."""
        return Annotation()

    def label(self, index: int) -> int | None:
        """Return None: the pixels have classes, not the image."""
        return None

    def tags(self, index: int) -> NDArray[np.int64] | None:
        """Return None: to know the classes, the mask would have to be read."""
        return None

    def image_size(self, index: int) -> tuple[int, int]:
        """Return (height, width) in pixels after EXIF rotation, from the file's header."""
        return image_size(self.path(index))


class SegmentationFileDataset(SegmentationDataset):
    """Base class: image files with a mask file each.

    Args:
        pairs: the image files and their mask files.
        decoder: maps the stored values of the masks to classes.
        on_bad_file: raise an error for unreadable files, or skip them. skip reads every file once at the start.
        report: counts by reason, which are added to.
    """

    def __init__(
        self, pairs: ImageMaskPairs, decoder: MaskDecoder, on_bad_file: BadFilePolicy, report: dict[str, int]
    ) -> None:
        self.report = report
        images = find_readable(pairs.image_folder, pairs.images, on_bad_file, report)
        masks = find_readable(pairs.mask_folder, pairs.masks, on_bad_file, report, read_mask, "masks")
        kept = pairs.select(images & masks)
        self.image_folder, self.mask_folder, self.decoder = pairs.image_folder, pairs.mask_folder, decoder
        self.names = PackedSequence(kept.images)
        self.mask_names = PackedSequence(kept.masks)

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> Path:
        """See `SegmentationDataset`."""
        return self.image_folder / self.names[index]

    def name(self, index: int) -> str:
        """See `SegmentationDataset`."""
        return self.names[index]

    def semantic(self, index: int) -> Mask:
        """See `VisionDataset`."""
        return self.decoder.read(self.mask_folder / self.mask_names[index])
