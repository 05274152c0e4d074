"""The `coco_semantic` format: semantic masks from COCO's instances."""

from pathlib import Path
from typing import Literal

import numpy as np
from pycocotools import mask as rle

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.base_segmentation import BACKGROUND, SegmentationDataset
from visionkit.data.datasets.coco import Coco
from visionkit.data.io.masks import Mask
from visionkit.ops.ignore import IGNORE

UncoveredPixels = Literal["background", "ignore"]
"""Class of the pixels that belong to no object: `background`, which is then class 0, or `ignore`."""


@formats.register("coco_semantic")
class CocoSemantic(SegmentationDataset):
    """Images with semantic masks that are drawn from instance masks. Where objects overlap, the smallest is drawn.

    COCO does not state which object is in front. A small object inside a large one mostly is (a tie on a shirt).
    Pixels of crowds are ignored, except where an object overlaps them.

    Args:
        root: folder of the dataset.
        annotations: the JSON file of instances, relative to `root`.
        images: folder of the image files, relative to `root`.
        uncovered: class of pixels that belong to no object: `background` or `ignore`.
        classes: categories to keep, in label order, optionally with `background` first; objects of other
            categories are skipped and counted. None keeps all.
        only: pattern of the file names of the images to keep, see `Coco`.

    Raises:
        DataError: see `Coco`.

    Example:
        >>> import json, tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from visionkit.data.datasets.coco_semantic import CocoSemantic
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (5, 4)).save(folder / "a.png")
        >>> cat = {"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 1, 3, 2]}
        >>> content = {
        ...     "images": [{"id": 1, "file_name": "a.png", "height": 4, "width": 5}],
        ...     "categories": [{"id": 7, "name": "cat"}],
        ...     "annotations": [{**cat, "segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]]}],
        ... }
        >>> _ = (folder / "train.json").write_text(json.dumps(content))
        >>> CocoSemantic(folder, "train.json")[0].semantic
        array([[0, 0, 0, 0, 0],
               [0, 1, 1, 1, 0],
               [0, 1, 1, 1, 0],
               [0, 0, 0, 0, 0]], dtype=uint8)
    """

    def __init__(
        self,
        root: Path | None,
        annotations: str,
        images: str = "",
        uncovered: UncoveredPixels = "background",
        classes: list[str] | None = None,
        only: str | None = None,
    ) -> None:
        chosen = without_background(classes, uncovered)
        self._instances = Coco(root, annotations, images, chosen, masks=True, only=only)
        self.report = self._instances.report
        self._first, self._uncovered = first_and_uncovered_class(uncovered)
        names, ids = self._instances.class_names, self._instances.category_ids
        self.set_classes([BACKGROUND] * self._first + names, [0] * self._first + ids, None)

    def __len__(self) -> int:
        return len(self._instances)

    def path(self, index: int) -> Path:
        """See `SegmentationDataset`."""
        return self._instances.image_folder / self.name(index)

    def name(self, index: int) -> str:
        """See `SegmentationDataset`."""
        return self._instances.file_names[index]

    def image_id(self, index: int) -> int | str:
        """Return COCO's id of the image."""
        return self._instances.image_id(index)

    def semantic(self, index: int) -> Mask:
        """See `VisionDataset`."""
        objects = self._instances.annotation(index)
        mask = np.full(self._instances.image_size(index), self._uncovered, np.uint8)
        classes = np.where(objects.crowd, IGNORE, objects.labels + self._first)
        for number in np.lexsort((-objects.area, ~objects.crowd)):  # crowds first, then objects from large to small
            assert objects.masks is not None
            mask[rle.decode(objects.masks[number]).astype(bool)] = classes[number]
        return mask


def without_background(classes: list[str] | None, uncovered: UncoveredPixels) -> list[str] | None:
    """Return `data.classes` without the background, which may come first."""
    has_background = uncovered == "background" and (classes or [""])[0] == BACKGROUND
    return classes[1:] if classes is not None and has_background else classes


def first_and_uncovered_class(uncovered: UncoveredPixels) -> tuple[int, int]:
    """Return the class index of the first category, and the class index of pixels that belong to no object."""
    return (1, 0) if uncovered == "background" else (0, IGNORE)
