"""Cityscapes (Cordts 2016): label ids of 34 kinds, of which 19 are trained and scored."""

from collections import Counter
from pathlib import Path
from typing import Literal, NamedTuple

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.classification import stored_classes
from visionkit.data.datasets.image_mask_pairs import Side, pairs_by_name
from visionkit.data.datasets.segmentation import SegmentationFiles
from visionkit.data.io.bad_files import BadFiles
from visionkit.data.io.masks import MaskCoding
from visionkit.data.io.paths import existing_folder
from visionkit.ops.ignore import IGNORE
from visionkit.structures import Color

LABEL_IDS = 34
"""Label ids are 0 to 33; those of no class below are void, or too rare to be scored."""


class Kind(NamedTuple):
    """A class: its label id, name, and color in the data set's own drawings."""

    label_id: int
    name: str
    color: Color


CLASSES = (
    Kind(7, "road", (128, 64, 128)),
    Kind(8, "sidewalk", (244, 35, 232)),
    Kind(11, "building", (70, 70, 70)),
    Kind(12, "wall", (102, 102, 156)),
    Kind(13, "fence", (190, 153, 153)),
    Kind(17, "pole", (153, 153, 153)),
    Kind(19, "traffic light", (250, 170, 30)),
    Kind(20, "traffic sign", (220, 220, 0)),
    Kind(21, "vegetation", (107, 142, 35)),
    Kind(22, "terrain", (152, 251, 152)),
    Kind(23, "sky", (70, 130, 180)),
    Kind(24, "person", (220, 20, 60)),
    Kind(25, "rider", (255, 0, 0)),
    Kind(26, "car", (0, 0, 142)),
    Kind(27, "truck", (0, 0, 70)),
    Kind(28, "bus", (0, 60, 100)),
    Kind(31, "train", (0, 80, 100)),
    Kind(32, "motorcycle", (0, 0, 230)),
    Kind(33, "bicycle", (119, 11, 32)),
)
"""In the order of the train ids, 0 to 18."""


@formats.register("cityscapes")
class Cityscapes(SegmentationFiles):
    """Images `leftImg8bit/<split>/<city>/*_leftImg8bit.png` with the label ids of their `gtFine` or `gtCoarse`.

    Args:
        root: folder with `leftImg8bit` and the annotations.
        split: train, val, train_extra or test; the masks of test are empty.
        annotations: which of the two.
        classes: must be left out or equal the 19 names.
        on_bad_file: as for the masks format.

    Raises:
        DataError: files or their counterparts are missing.
    """

    def __init__(
        self,
        root: Path | None,
        split: str,
        annotations: Literal["gtFine", "gtCoarse"] = "gtFine",
        classes: list[str] | None = None,
        on_bad_file: BadFiles = "raise",
    ) -> None:
        top = existing_folder(root, "the cityscapes format")
        images = existing_folder(top / "leftImg8bit" / split, "the cityscapes format")
        masks = existing_folder(top / annotations / split, "the cityscapes format")
        names = stored_classes([kind.name for kind in CLASSES], classes, "Cityscapes")
        ids = [kind.label_id for kind in CLASSES]
        self.name_classes(names, ids, [kind.color for kind in CLASSES])
        sides = Side(images, "_leftImg8bit.png"), Side(masks, f"_{annotations}_labelIds.png")
        pairs = pairs_by_name(*sides, counts=Counter())  # other files lie there, too: that is no news
        values = dict.fromkeys(range(LABEL_IDS), IGNORE) | {value: index for index, value in enumerate(ids)}
        super().__init__(pairs, MaskCoding(values), on_bad_file, Counter())
