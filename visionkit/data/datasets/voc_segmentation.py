"""Pascal VOC's segmentation of classes (devkit, section 4.2): palette PNGs, the border of objects is void."""

from collections import Counter
from pathlib import Path

import numpy as np

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.image_mask_pairs import Pairs
from visionkit.data.datasets.segmentation import BACKGROUND, SegmentationFiles
from visionkit.data.io.bad_files import BadFiles
from visionkit.data.io.masks import MaskCoding
from visionkit.data.io.paths import existing_file, existing_folder, inside, refuse_duplicates
from visionkit.errors import DataError
from visionkit.ops.ignore import IGNORE
from visionkit.structures import Color

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


@formats.register("voc_segmentation")
class VocSegmentation(SegmentationFiles):
    """Images of an image set with their masks in `SegmentationClass`; value k is class k, 255 is ignored.

    Args:
        root: folder with `JPEGImages`, `SegmentationClass` and `ImageSets/Segmentation`.
        image_set: name of the list of images in `ImageSets/Segmentation`.
        folder: a folder below `root` that holds those three ("VOCdevkit/VOC2012").
        masks: folder of the masks ("SegmentationClassAug" for those of Hariharan 2011, where they lie there).
        classes: class names in label order, `background` among them; None takes VOC's 21.
        on_bad_file: as for the masks format.

    Raises:
        DataError: files are missing, or an image is listed twice.
    """

    def __init__(
        self,
        root: Path | None,
        image_set: str,
        folder: str = "",
        masks: str = "SegmentationClass",
        classes: list[str] | None = None,
        on_bad_file: BadFiles = "raise",
    ) -> None:
        top = existing_folder(root, "the voc_segmentation format") / folder
        source = existing_file(top / "ImageSets" / "Segmentation" / f"{image_set}.txt")
        ids = source.read_text(encoding="utf-8").split()
        refuse_duplicates(ids, "images", source)
        if not ids:
            raise DataError(f"{source} lists no image")
        inside(top / masks, ids, source)
        names = classes or [BACKGROUND, *CLASSES]
        self.name_classes(names, list(range(len(names))), voc_colors(len(names)))
        pairs = Pairs(top / "JPEGImages", top / masks, [f"{name}.jpg" for name in ids], [f"{name}.png" for name in ids])
        pairs.refuse_missing(source)
        values = {index: index for index in range(len(names))} | {IGNORE: IGNORE}
        super().__init__(pairs, MaskCoding(values), on_bad_file, Counter())

    def image_id(self, index: int) -> str:
        """VOC's name of the image."""
        return Path(self.name(index)).stem


def voc_colors(count: int) -> list[Color]:
    """The colors of VOC's palette: the bits of a class's number, three by three, from the highest bit of R, G, B down.

    Args:
        count: number of classes.
    """
    bits = (np.arange(count)[:, None] >> np.arange(24)) & 1
    channels = bits.reshape(count, 8, 3) << np.arange(7, -1, -1)[:, None]
    return [(red, green, blue) for red, green, blue in channels.sum(axis=1).tolist()]
