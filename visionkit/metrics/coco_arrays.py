"""Records of many images as columns, the form in which boxes are handed to an evaluator without a loop over them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from visionkit.errors import VisionkitError
from visionkit.metrics.coco_results import to_xywh
from visionkit.metrics.records import Record

Kind = Literal["bbox", "segm"]


@dataclass
class Columns:
    """Boxes of all images as columns of equal length L; images are numbered from 1, labels from 0.

    Attributes:
        image_ids, labels: int64 [L].
        boxes: float64 [L, 4], xywh in pixels.
        scores: float64 [L]; 1 for ground truth.
        area: float64 [L], square pixels in the original image.
        crowd: bool [L], regions in which detections count neither way.
        masks: L RLEs, or None where boxes are compared.
    """

    image_ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    area: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    masks: list[Any] | None

    def __len__(self) -> int:
        return len(self.labels)

    def keep(self, kept: NDArray[np.bool_]) -> "Columns":
        """The rows where `kept` [L] is true."""
        return Columns(
            image_ids=self.image_ids[kept],
            labels=self.labels[kept],
            boxes=self.boxes[kept],
            scores=self.scores[kept],
            area=self.area[kept],
            crowd=self.crowd[kept],
            masks=None if self.masks is None else [self.masks[index] for index in np.flatnonzero(kept)],
        )


def truth_columns(records: Sequence[Record], kind: Kind) -> Columns:
    """The ground truth of all images; difficult objects become crowds, so that neither is rewarded or punished."""
    counts = [len(record.true_labels) for record in records]
    return Columns(
        image_ids=np.repeat(np.arange(1, len(records) + 1), counts),
        labels=_joined([record.true_labels for record in records], np.int64),
        boxes=to_xywh(_joined([record.true_boxes for record in records]).reshape(-1, 4)),
        scores=np.ones(sum(counts)),
        area=_joined([record.area for record in records]),
        crowd=_joined([record.crowd | record.difficult for record in records], np.bool_),
        masks=_masks([record.true_masks for record in records], counts, "target") if kind == "segm" else None,
    )


def found_columns(records: Sequence[Record], kind: Kind) -> Columns:
    """The predictions of all images; their area is that of the mask where masks are compared, else of the box."""
    counts = [len(record.labels) for record in records]
    boxes = to_xywh(_joined([record.boxes for record in records]).reshape(-1, 4))
    masks = _masks([record.masks for record in records], counts, "prediction") if kind == "segm" else None
    return Columns(
        image_ids=np.repeat(np.arange(1, len(records) + 1), counts),
        labels=_joined([record.labels for record in records], np.int64),
        boxes=boxes,
        scores=_joined([record.scores for record in records]),
        area=boxes[:, 2] * boxes[:, 3] if masks is None else np.array([rle.area(code) for code in masks], np.float64),
        crowd=np.zeros(sum(counts), bool),
        masks=masks,
    )


def _joined(parts: list[NDArray[Any]], dtype: Any = np.float64) -> NDArray[Any]:
    return np.concatenate(parts).astype(dtype) if parts else np.zeros(0, dtype)


def _masks(parts: list[list[Any] | None], counts: list[int], side: str) -> list[Any]:
    if any(count and masks is None for masks, count in zip(parts, counts, strict=True)):
        raise VisionkitError(f"masks are to be scored, but a {side} has none: use boxes (kind='bbox') or give masks")
    return [code for masks in parts for code in masks or []]
