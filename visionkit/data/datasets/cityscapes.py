"""The `cityscapes` format (Cordts et al. 2016): 34 label ids, of which 19 are used for training and evaluation."""

from collections import Counter
from pathlib import Path
from typing import Literal, NamedTuple

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.base_segmentation import SegmentationFileDataset
from visionkit.data.datasets.class_checks import check_requested_classes
from visionkit.data.datasets.image_mask_pairs import FilePattern, pair_by_name
from visionkit.data.io.bad_files import BadFilePolicy
from visionkit.data.io.masks import MaskDecoder
from visionkit.data.io.paths import require_folder
from visionkit.ops.ignore import IGNORE
from visionkit.structures import Color

LABEL_IDS = 34
"""Label ids are 0 to 33. Those of no class below are void, or too rare to be evaluated."""


class CityscapesClass(NamedTuple):
    """A class: its label id, its name, and the color in which Cityscapes draws it."""

    label_id: int
    name: str
    color: Color


CLASSES = (
    CityscapesClass(7, "road", (128, 64, 128)),
    CityscapesClass(8, "sidewalk", (244, 35, 232)),
    CityscapesClass(11, "building", (70, 70, 70)),
    CityscapesClass(12, "wall", (102, 102, 156)),
    CityscapesClass(13, "fence", (190, 153, 153)),
    CityscapesClass(17, "pole", (153, 153, 153)),
    CityscapesClass(19, "traffic light", (250, 170, 30)),
    CityscapesClass(20, "traffic sign", (220, 220, 0)),
    CityscapesClass(21, "vegetation", (107, 142, 35)),
    CityscapesClass(22, "terrain", (152, 251, 152)),
    CityscapesClass(23, "sky", (70, 130, 180)),
    CityscapesClass(24, "person", (220, 20, 60)),
    CityscapesClass(25, "rider", (255, 0, 0)),
    CityscapesClass(26, "car", (0, 0, 142)),
    CityscapesClass(27, "truck", (0, 0, 70)),
    CityscapesClass(28, "bus", (0, 60, 100)),
    CityscapesClass(31, "train", (0, 80, 100)),
    CityscapesClass(32, "motorcycle", (0, 0, 230)),
    CityscapesClass(33, "bicycle", (119, 11, 32)),
)
"""The classes in the order of the train ids, 0 to 18."""


@formats.register("cityscapes")
class Cityscapes(SegmentationFileDataset):
    """Images `leftImg8bit/<split>/<city>/*_leftImg8bit.png` with semantic masks from `gtFine` or `gtCoarse`.

    Args:
        root: folder with `leftImg8bit` and the annotations.
        split: train, val, train_extra or test; the masks of test are empty.
        annotations: gtFine or gtCoarse.
        classes: class names; None, or equal to the 19 names.
        on_bad_file: raise an error for unreadable files, or skip them. skip reads every file once at the start.

    Raises:
        DataError: an image or a mask is missing.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from visionkit.data.datasets.cityscapes import Cityscapes
        >>> root = Path(tempfile.mkdtemp())
        >>> for kind, ending, mode in (("leftImg8bit", "leftImg8bit", "RGB"), ("gtFine", "gtFine_labelIds", "L")):
        ...     folder = root / kind / "train" / "aachen"
        ...     folder.mkdir(parents=True)
        ...     Image.new(mode, (8, 6), 26).save(folder / f"aachen_000000_000019_{ending}.png")
        >>> dataset = Cityscapes(root, "train")
        >>> train_id = dataset[0].semantic[0, 0]  # label id 26
        >>> int(train_id), dataset.class_names[train_id]
        (13, 'car')
    """

    def __init__(
        self,
        root: Path | None,
        split: str,
        annotations: Literal["gtFine", "gtCoarse"] = "gtFine",
        classes: list[str] | None = None,
        on_bad_file: BadFilePolicy = "raise",
    ) -> None:
        top = require_folder(root, "the cityscapes format")
        images = require_folder(top / "leftImg8bit" / split, "the cityscapes format")
        masks = require_folder(top / annotations / split, "the cityscapes format")
        names = check_requested_classes([entry.name for entry in CLASSES], classes, "Cityscapes")
        ids = [entry.label_id for entry in CLASSES]
        self.set_classes(names, ids, [entry.color for entry in CLASSES])
        patterns = FilePattern(images, "_leftImg8bit.png"), FilePattern(masks, f"_{annotations}_labelIds.png")
        pairs = pair_by_name(*patterns, counts=Counter())  # the folders have other files, too
        values = dict.fromkeys(range(LABEL_IDS), IGNORE) | {value: index for index, value in enumerate(ids)}
        super().__init__(pairs, MaskDecoder(values), on_bad_file, Counter())
