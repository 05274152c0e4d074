"""The one form in which every data format hands over a picture and what is known about it."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]
"""RGB, 0..255 each."""

Rle = dict[str, Any]
"""COCO run-length code of one mask: {"size": [height, width], "counts": bytes or str}."""


@dataclass
class Annotation:
    """What is known about one picture, in the pixels of the picture as stored (after EXIF rotation).

    N objects. Arrays always have equal length, also when N is 0.

    Attributes:
        boxes: float32 [N, 4], xyxy with x2 > x1 and y2 > y1, edges (not pixel indices): a box that covers
            the whole picture is (0, 0, width, height).
        labels: int64 [N], 0..K-1; there is no background class.
        crowd: bool [N], a region of uncounted objects (COCO iscrowd).
        difficult: bool [N], neither rewarded nor punished in evaluation (VOC difficult).
        area: float32 [N], square pixels of the object (of its mask where there is one, else of its box).
        masks: one compressed RLE per object, or None when the format has no masks.
    """

    boxes: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 4), np.float32))
    labels: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    crowd: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    difficult: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    area: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    masks: list[Rle] | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class Sample:
    """One picture with its annotation: what every dataset yields.

    Attributes:
        picture: uint8 [H, W, 3], RGB.
        image_id: the data set's own id of the picture (COCO id, VOC name, shapes index).
        file_name: for messages; relative to the data root, or a made-up name where there is no file.
        annotation: objects in the pixels of `picture`.
        semantic: uint8 [H, W] class index per pixel (255 = ignore), or None.
        label: index of the picture's class, or None.
        tags: int64, indices of all classes that hold for the picture, rising; None where that is not known.
        proposals: float32 [P, 4], xyxy, regions that may hold an object, the best first; None where none are given.
    """

    picture: NDArray[np.uint8]
    image_id: int | str
    file_name: str
    annotation: Annotation = field(default_factory=Annotation)
    semantic: NDArray[np.uint8] | None = None
    label: int | None = None
    tags: NDArray[np.int64] | None = None
    proposals: NDArray[np.float32] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the picture in pixels."""
        return self.picture.shape[0], self.picture.shape[1]


class VisionDataset(Protocol):
    """What a format's reader offers; `data/formats/` has one file for each.

    Attributes:
        class_names: K names, in label order.
        category_ids: the data set's own id of each class, K of them, in label order (COCO's gappy ids).
        report: what was repaired or dropped while reading, by reason ("degenerate boxes": 2).
        class_colours: how masks of the K classes are drawn where the data set says so; None where it does not.
    """

    class_names: list[str]
    category_ids: list[int]
    report: dict[str, int]
    class_colours: list[Colour] | None

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def image_id(self, index: int) -> int | str:
        """The data set's own id of the picture, without decoding it."""
        ...

    def annotation(self, index: int) -> Annotation:
        """The annotation alone, without decoding the picture."""
        ...

    def picture_size(self, index: int) -> tuple[int, int]:
        """(height, width) in pixels as the annotation file states it, without decoding the picture."""
        ...

    def label(self, index: int) -> int | None:
        """The picture's class, without decoding the picture; None where it has none."""
        ...

    def tags(self, index: int) -> NDArray[np.int64] | None:
        """Indices of all classes that hold for the picture, rising; None where that is not known."""
        ...

    def has_semantic(self, index: int) -> bool:
        """Whether the picture has a mask of classes, without reading it."""
        ...

    def semantic(self, index: int) -> NDArray[np.uint8] | None:
        """The mask of classes alone, uint8 [H, W] as in `Sample`, without decoding the picture; None without one."""
        ...


class WithoutMasks:
    """What readers of pictures without masks of classes answer about them."""

    class_colours: list[Colour] | None = None

    def has_semantic(self, index: int) -> bool:
        """No."""
        return False

    def semantic(self, index: int) -> NDArray[np.uint8] | None:
        """None."""
        return None
