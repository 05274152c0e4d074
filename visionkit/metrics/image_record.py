"""Predicted and true boxes of one image, as arrays on the CPU."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray
from torch import Tensor

from visionkit.errors import VisionkitError
from visionkit.structures import Rle


@dataclass
class ImageRecord:
    """Predictions (M boxes) and ground truth (N boxes) of one image; boxes are xyxy in its own pixels.

    Attributes:
        size: height and width in pixels.
        boxes, scores, labels: float64 [M, 4], float64 [M], int64 [M].
        masks: M RLEs, or None.
        true_boxes, true_labels, crowd, difficult, area: float64 [N, 4], int64 [N], bool [N], bool [N], float64 [N].
        true_masks: N RLEs, or None.
    """

    size: tuple[int, int]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]
    masks: list[Rle] | None
    true_boxes: NDArray[np.float64]
    true_labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    difficult: NDArray[np.bool_]
    area: NDArray[np.float64]
    true_masks: list[Rle] | None

    @classmethod
    def from_tensors(cls, prediction: Mapping[str, Any], target: Mapping[str, Any]) -> "ImageRecord":
        """Return the record of a prediction and a target, see `DetectionMetric.update`."""
        true_boxes = as_floats(target["boxes"]).reshape(-1, 4)
        count = len(true_boxes)
        sides = true_boxes[:, 2:] - true_boxes[:, :2]
        height, width = target.get("size", (0, 0))
        return cls(
            size=(height, width),
            boxes=as_floats(prediction["boxes"]).reshape(-1, 4),
            scores=as_floats(prediction["scores"]),
            labels=as_array(prediction["labels"], np.int64),
            masks=prediction.get("masks"),
            true_boxes=true_boxes,
            true_labels=as_array(target["labels"], np.int64),
            crowd=as_array(target.get("crowd", np.zeros(count)), np.bool_),
            difficult=as_array(target.get("difficult", np.zeros(count)), np.bool_),
            area=as_array(target.get("area", sides.prod(axis=1)), np.float64),
            true_masks=target.get("masks"),
        )

    def check(self, image_id: int | str, num_classes: int) -> None:
        """Check values, lengths and labels, because a wrong record would be scored silently.

        Args:
            image_id: for the error message.
            num_classes: labels must be below it.

        Raises:
            VisionkitError: a score or box is NaN, a label is not in 0..K-1, or fields differ in length.
        """
        if not (np.isfinite(self.scores).all() and np.isfinite(self.boxes).all()):
            raise VisionkitError(f"image {image_id}: the model predicted NaN or infinite boxes or scores")
        predicted = {"scores": self.scores, "labels": self.labels, "masks": self.masks}
        true = {"labels": self.true_labels, "crowd": self.crowd, "difficult": self.difficult, "area": self.area}
        _check_lengths(image_id, "predicted", len(self.boxes), predicted)
        _check_lengths(image_id, "true", len(self.true_boxes), {**true, "masks": self.true_masks})
        for side, labels in (("predicted", self.labels), ("true", self.true_labels)):
            wrong = labels[(labels < 0) | (labels >= num_classes)]
            if len(wrong):
                raise VisionkitError(
                    f"image {image_id}: {side} label {wrong[0]}, but labels are 0 to {num_classes - 1}"
                )


def as_array(values: Any, dtype: DTypeLike) -> NDArray[Any]:
    """Return a tensor, array or list as an array of `dtype` on the CPU."""
    return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values).astype(dtype)


def as_floats(values: Any) -> NDArray[np.float64]:
    """Return a tensor, array or list as float64, also from bfloat16, which numpy does not have."""
    return as_array(values.detach().double() if isinstance(values, Tensor) else values, np.float64)


def _check_lengths(image_id: int | str, side: str, count: int, fields: Mapping[str, Any]) -> None:
    for name, values in fields.items():
        if values is not None and len(values) != count:
            raise VisionkitError(f"image {image_id}: {count} {side} boxes, but {len(values)} {name}")
