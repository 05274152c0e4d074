"""What every dataset reader offers, and the names of the formats."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from visionkit.registry import Registry
from visionkit.structures import Annotation, Color, Sample


class VisionDataset(Protocol):
    """What a format's reader offers; `data/formats/` has one file for each.

    Attributes:
        class_names: K names, in label order.
        category_ids: the data set's own id of each class, K of them, in label order (COCO's gappy ids).
        report: what was repaired or dropped while reading, by reason ("degenerate boxes": 2).
        class_colors: how masks of the K classes are drawn where the data set says so; None where it does not.
    """

    class_names: list[str]
    category_ids: list[int]
    report: dict[str, int]
    class_colors: list[Color] | None

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def image_id(self, index: int) -> int | str:
        """The data set's own id of the image, without decoding it."""
        ...

    def annotation(self, index: int) -> Annotation:
        """The annotation alone, without decoding the image."""
        ...

    def image_size(self, index: int) -> tuple[int, int]:
        """(height, width) in pixels as the annotation file states it, without decoding the image."""
        ...

    def label(self, index: int) -> int | None:
        """The image's class, without decoding the image; None where it has none."""
        ...

    def tags(self, index: int) -> NDArray[np.int64] | None:
        """Indices of all classes that hold for the image, rising; None where that is not known."""
        ...

    def has_semantic(self, index: int) -> bool:
        """Whether the image has a mask of classes, without reading it."""
        ...

    def semantic(self, index: int) -> NDArray[np.uint8] | None:
        """The mask of classes alone, uint8 [H, W] as in `Sample`, without decoding the image; None without one."""
        ...


class NoSemanticMasks:
    """What readers of images without masks of classes answer about them."""

    class_colors: list[Color] | None = None

    def has_semantic(self, index: int) -> bool:
        """No."""
        return False

    def semantic(self, index: int) -> NDArray[np.uint8] | None:
        """None."""
        return None


formats: Registry[type[VisionDataset]] = Registry("data format", "visionkit.data.datasets")
"""Each entry is called as `reader(root=..., **split_options)`, with `classes` where the card lists them."""

register_format = formats.register
