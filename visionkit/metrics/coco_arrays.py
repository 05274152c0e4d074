"""Boxes of many images as arrays, the form in which an evaluator takes them without a loop over boxes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray
from pycocotools import mask as rle

from visionkit.errors import VisionkitError
from visionkit.metrics.coco_results import to_xywh
from visionkit.metrics.image_record import ImageRecord
from visionkit.structures import Rle

IouType = Literal["bbox", "segm"]
"""Whether the IoU of boxes or of masks is computed, in COCO's words."""


@dataclass
class CocoArrays:
    """Boxes of all images as arrays of equal length L; images are numbered from 1, labels from 0.

    Attributes:
        image_ids, labels: int64 [L].
        boxes: float64 [L, 4], xywh in pixels.
        scores: float64 [L]; 1 for ground truth.
        area: float64 [L], square pixels in the original image.
        crowd: bool [L], crowd regions: detections in them count neither as true nor as false positives.
        masks: L RLEs, or None if boxes are compared.
    """

    image_ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    area: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    masks: list[Rle] | None

    def __len__(self) -> int:
        return len(self.labels)

    def select(self, selected: NDArray[np.bool_]) -> "CocoArrays":
        """Return the rows for which `selected` [L] is true."""
        return CocoArrays(
            image_ids=self.image_ids[selected],
            labels=self.labels[selected],
            boxes=self.boxes[selected],
            scores=self.scores[selected],
            area=self.area[selected],
            crowd=self.crowd[selected],
            masks=None if self.masks is None else [self.masks[index] for index in np.flatnonzero(selected)],
        )


def ground_truth_arrays(records: Sequence[ImageRecord], iou_type: IouType) -> CocoArrays:
    """Return the ground truth of all images; COCO has no difficult objects, they become crowd regions.

    Raises:
        VisionkitError: masks are compared, and an object has none.
    """
    counts = [len(record.true_labels) for record in records]
    return CocoArrays(
        image_ids=np.repeat(np.arange(1, len(records) + 1), counts),
        labels=_concatenate([record.true_labels for record in records], np.int64),
        boxes=to_xywh(_concatenate([record.true_boxes for record in records]).reshape(-1, 4)),
        scores=np.ones(sum(counts)),
        area=_concatenate([record.area for record in records]),
        crowd=_concatenate([record.crowd | record.difficult for record in records], np.bool_),
        masks=_masks([record.true_masks for record in records], counts, "target") if iou_type == "segm" else None,
    )


def prediction_arrays(records: Sequence[ImageRecord], iou_type: IouType) -> CocoArrays:
    """Return the predictions of all images; the area is that of the mask if masks are compared, else of the box.

    Raises:
        VisionkitError: masks are compared, and a prediction has none.
    """
    counts = [len(record.labels) for record in records]
    boxes = to_xywh(_concatenate([record.boxes for record in records]).reshape(-1, 4))
    masks = _masks([record.masks for record in records], counts, "prediction") if iou_type == "segm" else None
    return CocoArrays(
        image_ids=np.repeat(np.arange(1, len(records) + 1), counts),
        labels=_concatenate([record.labels for record in records], np.int64),
        boxes=boxes,
        scores=_concatenate([record.scores for record in records]),
        area=boxes[:, 2] * boxes[:, 3] if masks is None else np.array([rle.area(mask) for mask in masks], np.float64),
        crowd=np.zeros(sum(counts), bool),
        masks=masks,
    )


def _concatenate(arrays: list[NDArray[Any]], dtype: DTypeLike = np.float64) -> NDArray[Any]:
    return np.concatenate(arrays).astype(dtype) if arrays else np.zeros(0, dtype)


def _masks(masks_per_image: list[list[Rle] | None], counts: list[int], side: str) -> list[Rle]:
    if any(count and masks is None for masks, count in zip(masks_per_image, counts, strict=True)):
        raise VisionkitError(
            f"masks are to be scored, but a {side} has none: compare boxes (iou_type='bbox') or add masks"
        )
    return [mask for masks in masks_per_image for mask in masks or []]
