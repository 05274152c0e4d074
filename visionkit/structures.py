"""The one form in which every data format hands over an image and what is known about it."""

from dataclasses import dataclass, field
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Color = tuple[int, int, int]
"""RGB, 0..255 each."""

Rle = dict[str, Any]
"""COCO run-length code of one mask: {"size": [height, width], "counts": bytes or str}."""


@dataclass
class Annotation:
    """What is known about one image, in the pixels of the image as stored (after EXIF rotation).

    N objects. Arrays always have equal length, also when N is 0.

    Attributes:
        boxes: float32 [N, 4], xyxy with x2 > x1 and y2 > y1, edges (not pixel indices): a box that covers
            the whole image is (0, 0, width, height).
        labels: int64 [N], 0..K-1; there is no background class.
        crowd: bool [N], a region of uncounted objects (COCO iscrowd).
        difficult: bool [N], neither rewarded nor punished in evaluation (VOC difficult).
        area: float32 [N], square pixels of the object (of its mask where there is one, else of its box).
        masks: one compressed RLE per object, or None when the format has no masks.

    Example:
        >>> import visionkit as vk
        >>> import numpy as np
        >>> boxes = np.array([[10, 20, 50, 60]], np.float32)
        >>> len(vk.Annotation(boxes=boxes, labels=np.array([0])))
        1
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
    """One image with its annotation: what every dataset yields.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        image_id: the data set's own id of the image (COCO id, VOC name, shapes index).
        file_name: for messages; relative to the data root, or a made-up name where there is no file.
        annotation: objects in the pixels of `image`.
        semantic: uint8 [H, W] class index per pixel (255 = ignore), or None.
        label: index of the image's class, or None.
        tags: int64, indices of all classes that hold for the image, rising; None where that is not known.
        proposals: float32 [P, 4], xyxy, regions that may hold an object, the best first; None where none are given.

    Example:
        >>> import visionkit as vk
        >>> import numpy as np
        >>> vk.Sample(np.zeros((48, 64, 3), np.uint8), image_id=7, file_name="7.jpg", label=1).size
        (48, 64)
    """

    image: NDArray[np.uint8]
    image_id: int | str
    file_name: str
    annotation: Annotation = field(default_factory=Annotation)
    semantic: NDArray[np.uint8] | None = None
    label: int | None = None
    tags: NDArray[np.int64] | None = None
    proposals: NDArray[np.float32] | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image in pixels."""
        return self.image.shape[0], self.image.shape[1]


class Target(TypedDict, total=False):
    """What models and metrics are told about one image, as tensors; boxes are xyxy in pixels of the image they go with.

    N objects. `boxes` to `size` are always there, the others where the data set has them.

    Example:
        >>> import visionkit as vk
        >>> import torch
        >>> target: vk.Target = {"boxes": torch.tensor([[10.0, 20.0, 50.0, 60.0]]), "labels": torch.tensor([0])}
    """

    boxes: Tensor
    """float32 [N, 4]"""
    labels: Tensor
    """int64 [N], 0..K-1"""
    crowd: Tensor
    """bool [N]"""
    difficult: Tensor
    """bool [N]"""
    area: Tensor
    """float32 [N], square pixels of the original image"""
    image_id: int | str
    size: tuple[int, int]
    """height and width of the original image in pixels"""
    masks: list[Rle] | None
    """RLE of each object, at the size of the original image"""
    frame: Tensor
    """float32 [4], the part of the model's input, xyxy in its pixels, that `masks` cover"""
    proposals: Tensor
    """float32 [P, 4], regions that may hold an object, best first"""
    label: int
    """class of the image, 0..K-1"""
    tags: Tensor
    """int64, all classes of the image, rising"""
    semantic: Tensor
    """uint8 [H, W], class of each pixel, 255 = ignore"""


class Prediction(TypedDict, total=False):
    """What a detector finds in one image; M boxes, xyxy in pixels, best first.

    Example:
        >>> import visionkit as vk
        >>> import torch
        >>> model = vk.RetinaNet(vk.create_backbone("resnet18", weights="none"), num_classes=2).eval()
        >>> with torch.no_grad():
        ...     prediction: vk.Prediction = model([torch.zeros(3, 64, 64)])[0]
        >>> prediction["boxes"].shape[1]
        4
    """

    boxes: Tensor
    """float32 [M, 4]"""
    scores: Tensor
    """float32 [M], 0..1, falling"""
    labels: Tensor
    """int64 [M], 0..K-1"""
    mask_probabilities: Tensor
    """float [M, h, w], inside each box"""
    masks: list[Rle]
    """RLE of each object in the original image"""
