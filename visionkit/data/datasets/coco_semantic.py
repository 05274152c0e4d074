"""Masks of classes from COCO's instances: objects painted over each other."""

from pathlib import Path
from typing import Literal

import numpy as np
from pycocotools import mask as rle

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.coco import Coco
from visionkit.data.datasets.segmentation import BACKGROUND, SegmentationDataset
from visionkit.data.io.masks import Mask
from visionkit.ops.ignore import IGNORE

Uncovered = Literal["background", "ignore"]
"""What pixels of no object are: a class of their own, the first, or nothing to be learned or scored."""


@formats.register("coco_semantic")
class CocoSemantic(SegmentationDataset):
    """Images with the class of the object seen at each pixel; where two overlap, of the smaller.

    COCO does not say which object is in front; a small one inside a large one mostly is (a tie on a shirt). Crowds are
    ignored, save where an object lies over them.

    Args:
        root: folder of the data set.
        annotations: the JSON file of instances, relative to `root`.
        images: folder that the file names in it are relative to, relative to `root`.
        uncovered: what pixels of no object are: `background`, or to be ignored.
        classes: names to keep, in label order (`background` may stand first); objects of other categories are left
            out and counted. None keeps all.

    Raises:
        DataError: as for the coco format.
    """

    def __init__(
        self,
        root: Path | None,
        annotations: str,
        images: str = "",
        uncovered: Uncovered = "background",
        classes: list[str] | None = None,
    ) -> None:
        self._objects = Coco(root, annotations, images, without_background(classes, uncovered), masks=True)
        self.report = self._objects.report
        self._first, self._ground = ground_of(uncovered)
        names, ids = self._objects.class_names, self._objects.category_ids
        self.name_classes([BACKGROUND] * self._first + names, [0] * self._first + ids, None)

    def __len__(self) -> int:
        return len(self._objects)

    def path(self, index: int) -> Path:
        """See `SegmentationDataset`."""
        return self._objects.images / self.name(index)

    def name(self, index: int) -> str:
        """See `SegmentationDataset`."""
        return str(self._objects.names[index])

    def image_id(self, index: int) -> int | str:
        """COCO's id of the image."""
        image_id: int | str = self._objects.ids[index]
        return image_id

    def semantic(self, index: int) -> Mask:
        """See `VisionDataset`."""
        objects = self._objects.annotation(index)
        mask = np.full(self._objects.image_size(index), self._ground, np.uint8)
        painted = np.where(objects.crowd, IGNORE, objects.labels + self._first)
        for number in np.lexsort((-objects.area, ~objects.crowd)):  # crowds first, then from large to small
            assert objects.masks is not None
            mask[rle.decode(objects.masks[number]).astype(bool)] = painted[number]
        return mask


def without_background(classes: list[str] | None, uncovered: Uncovered) -> list[str] | None:
    """The categories among `data.classes`, which may name the background first."""
    has_background = uncovered == "background" and (classes or [""])[0] == BACKGROUND
    return classes[1:] if classes is not None and has_background else classes


def ground_of(uncovered: Uncovered) -> tuple[int, int]:
    """The number of the first category's class, and what the pixels of no object are."""
    return (1, 0) if uncovered == "background" else (0, IGNORE)
