"""The `voc_segmentation` format: Pascal VOC's palette masks of classes (VOC devkit, section 4.2)."""

from collections import Counter
from pathlib import Path

import numpy as np

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.base_segmentation import BACKGROUND, SegmentationFileDataset
from visionkit.data.datasets.image_mask_pairs import ImageMaskPairs
from visionkit.data.io.bad_files import BadFilePolicy
from visionkit.data.io.masks import MaskDecoder
from visionkit.data.io.paths import check_unique, read_text, require_file, require_folder, resolve_inside
from visionkit.errors import DataError
from visionkit.ops.ignore import IGNORE
from visionkit.structures import Color

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


@formats.register("voc_segmentation")
class VocSegmentation(SegmentationFileDataset):
    """Images of an image set with semantic masks from `SegmentationClass`.

    Value k is class k. The border of objects has the value 255 and is ignored.

    Args:
        root: folder with `JPEGImages`, `SegmentationClass` and `ImageSets/Segmentation`.
        image_set: name of the image list in `ImageSets/Segmentation`.
        folder: folder with these three, relative to `root` ("VOCdevkit/VOC2012").
        masks: folder of the masks ("SegmentationClassAug" for the masks of Hariharan et al. 2011).
        classes: class names in label order, including `background`; None takes VOC's 21 classes.
        on_bad_file: raise an error for unreadable files, or skip them. skip reads every file once at the start.

    Raises:
        DataError: files are missing, or an image is listed twice.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from visionkit.data.datasets.voc_segmentation import VocSegmentation
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("ImageSets/Segmentation", "JPEGImages", "SegmentationClass"):
        ...     (folder / name).mkdir(parents=True)
        >>> Image.new("RGB", (8, 6)).save(folder / "JPEGImages" / "a.jpg")
        >>> Image.new("L", (8, 6), 12).save(folder / "SegmentationClass" / "a.png")
        >>> _ = (folder / "ImageSets" / "Segmentation" / "train.txt").write_text("a")
        >>> dataset = VocSegmentation(folder, "train")
        >>> dataset.class_names[dataset[0].semantic[0, 0]]
        'dog'
    """

    def __init__(
        self,
        root: Path | None,
        image_set: str,
        folder: str = "",
        masks: str = "SegmentationClass",
        classes: list[str] | None = None,
        on_bad_file: BadFilePolicy = "raise",
    ) -> None:
        top = require_folder(root, "the voc_segmentation format") / folder
        source = require_file(top / "ImageSets" / "Segmentation" / f"{image_set}.txt")
        ids = read_text(source).split()
        check_unique(ids, "images", source)
        if not ids:
            raise DataError(f"{source} lists no images")
        resolve_inside(top / masks, ids, source)
        names = classes or [BACKGROUND, *CLASSES]
        self.set_classes(names, list(range(len(names))), voc_colors(len(names)))
        pairs = ImageMaskPairs(
            top / "JPEGImages", top / masks, [f"{name}.jpg" for name in ids], [f"{name}.png" for name in ids]
        )
        pairs.check_files_exist(source)
        values = {index: index for index in range(len(names))} | {IGNORE: IGNORE}
        super().__init__(pairs, MaskDecoder(values), on_bad_file, Counter())

    def image_id(self, index: int) -> str:
        """Return VOC's id of the image, the stem of its file name."""
        return Path(self.name(index)).stem


def voc_colors(count: int) -> list[Color]:
    """Return the colors of VOC's palette.

    The bits of a class index, in groups of three, become the bits of R, G and B from the highest bit down.

    Args:
        count: number of classes.
    """
    bits = (np.arange(count)[:, None] >> np.arange(24)) & 1
    channels = bits.reshape(count, 8, 3) << np.arange(7, -1, -1)[:, None]
    return [(red, green, blue) for red, green, blue in channels.sum(axis=1).tolist()]
