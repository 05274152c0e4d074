"""Common structures of images, annotations, targets and predictions, shared by all data formats and models."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Color = tuple[int, int, int]
"""RGB color, each channel in 0..255."""

Rle = dict[str, Any]
"""COCO run-length encoding (RLE) of one mask: {"size": [height, width], "counts": bytes or str}."""


@dataclass
class Annotation:
    """Annotation of the N objects of one image, in pixels of the stored image after EXIF rotation.

    All arrays have the same length, also if N is 0.

    Attributes:
        boxes: float32 [N, 4], xyxy with x2 > x1 and y2 > y1. Coordinates are pixel edges, not pixel indices: a box
            that covers the whole image is (0, 0, width, height).
        labels: int64 [N], 0..K-1; there is no background class.
        crowd: bool [N], True for regions of uncounted objects (COCO `iscrowd`).
        difficult: bool [N], True for objects that evaluation ignores (VOC `difficult`).
        area: float32 [N], area of the object in square pixels: that of its mask if it has one, else that of its box.
        masks: one compressed RLE per object; None if the format has no masks.

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

    def select(self, rows: NDArray[np.int64] | Sequence[int]) -> "Annotation":
        """Return the annotation of some of the objects, in the order of their indices `rows`."""
        indices = np.asarray(rows, np.int64)
        return Annotation(
            boxes=self.boxes[indices],
            labels=self.labels[indices],
            crowd=self.crowd[indices],
            difficult=self.difficult[indices],
            area=self.area[indices],
            masks=None if self.masks is None else [self.masks[index] for index in indices],
        )


@dataclass
class Sample:
    """Item of a dataset: one image with its annotation.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        image_id: id of the image in the dataset (COCO id, VOC name, shapes index).
        file_name: file name for messages, relative to the data root; a generated name if there is no file.
        annotation: objects, in pixels of `image`.
        semantic: uint8 [H, W], class index of each pixel (255 = ignore), or None.
        label: class index of the image, or None.
        tags: int64, indices of all classes of the image, in ascending order; None if they are not annotated.
        proposals: float32 [P, 4], xyxy, regions that may contain an object, best first; None without proposals.
        heads: heads of a model of several heads that the image has labels for; empty if there is one task only.
        card: name of the data card whose augmentation applies; None if there is one card only.

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
    heads: tuple[str, ...] = ()
    card: str | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image in pixels."""
        return self.image.shape[0], self.image.shape[1]


class Target(TypedDict, total=False):
    """Ground truth of one image with N objects as tensors, for models and metrics.

    Boxes are xyxy, in pixels of the image that the target belongs to. `boxes` to `size` are always present, the other
    entries only if the dataset provides them.

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
    """float32 [4], xyxy, part of the model's input that `masks` cover, in pixels of the input"""
    proposals: Tensor
    """float32 [P, 4], regions that may contain an object, best first"""
    label: int
    """class of the image, 0..K-1"""
    tags: Tensor
    """int64, all classes of the image, in ascending order"""
    semantic: Tensor
    """uint8 [H, W], class of each pixel, 255 = ignore"""
    heads: tuple[str, ...]
    """heads of a model of several heads that the image has labels for"""


class Prediction(TypedDict, total=False):
    """Detections of one image: M boxes, xyxy in pixels, best first.

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
    """float32 [M], 0..1, in descending order"""
    labels: Tensor
    """int64 [M], 0..K-1"""
    mask_probabilities: Tensor
    """float [M, h, w], inside each box"""
    masks: list[Rle]
    """RLE of each object in the original image"""
