"""What the detection metrics keep of each image, gathered over processes so that each image counts once."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from visionkit.errors import VisionkitError
from visionkit.metrics.gather import gather_by_key
from visionkit.registry import Registry


@dataclass
class Record:
    """One image: what was predicted (M boxes) and what is there (N objects), boxes xyxy in its own pixels.

    Attributes:
        size: (height, width) in pixels.
        boxes, scores, labels: float64 [M, 4], float64 [M], int64 [M].
        masks: M RLEs, or None.
        true_boxes, true_labels, crowd, difficult, area: float64 [N, 4], int64 [N], bool [N], bool [N], float64 [N].
        true_masks: N RLEs, or None.
    """

    size: tuple[int, int]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    labels: NDArray[np.int64]
    masks: list[Any] | None
    true_boxes: NDArray[np.float64]
    true_labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    difficult: NDArray[np.bool_]
    area: NDArray[np.float64]
    true_masks: list[Any] | None


class DetectionMetric(Metric):
    """Base of the metrics over a whole set of images.

    Records are kept by image id. `compute` gathers them over all processes, in a call that every process makes
    whether it had images or not, so all of them return the same numbers; an image that a distributed
    sampler handed out twice counts once.

    Args:
        class_names: K names in label order.
    """

    full_state_update = False
    main: str
    """Name of the figure that a run is judged by; higher is better."""

    def __init__(self, class_names: Sequence[str]) -> None:
        super().__init__(sync_on_compute=False)
        self.class_names = list(class_names)
        self.records: dict[int | str, Record] = {}

    def update(self, predictions: Sequence[dict[str, Any]], targets: Sequence[dict[str, Any]]) -> None:
        """Take in some images.

        Args:
            predictions: per image boxes [M, 4] xyxy, scores [M], labels [M], and masks (M RLEs) for mask scores.
            targets: per image boxes [N, 4], labels [N], image_id, and where they apply size, crowd, difficult,
                area, masks. Both in the pixels of the original image.

        Raises:
            VisionkitError: a score or box is NaN, a label is not in 0..K-1, or fields of an image differ in length.
        """
        for prediction, target in zip(predictions, targets, strict=True):
            image_id = _plain(target["image_id"])
            record = _record(prediction, target)
            _check(record, image_id, len(self.class_names))
            self.records[image_id] = record

    def forward(self, predictions: Sequence[dict[str, Any]], targets: Sequence[dict[str, Any]]) -> None:
        """The same as `update`: a call gives no metrics of its batch, which would need all processes to meet."""
        self.update(predictions, targets)

    def reset(self) -> None:
        """Forget all images."""
        super().reset()
        self.records = {}

    def gathered(self) -> dict[int | str, Record]:
        """The records of all processes by image id, in rising order: equal scores are ranked in that order."""
        merged = gather_by_key(self.records)
        return {image_id: merged[image_id] for image_id in sorted(merged, key=_order)}


def _order(image_id: int | str) -> tuple[bool, int, str]:
    """Sorts numbers by value, then names alphabetically."""
    return (False, image_id, "") if isinstance(image_id, int) else (True, 0, image_id)


def _plain(image_id: Any) -> int | str:
    """The id as int or str: ids that are tensors or numpy numbers would not be found equal, or not be sorted."""
    return cast(int | str, image_id.item() if isinstance(image_id, Tensor | np.generic) else image_id)


def _check(record: Record, image_id: int | str, classes: int) -> None:
    """Raise VisionkitError where a record would be scored wrongly without a word."""
    if not (np.isfinite(record.scores).all() and np.isfinite(record.boxes).all()):
        raise VisionkitError(f"image {image_id}: the network predicted NaN or infinite boxes or scores")
    found, true = len(record.boxes), len(record.true_boxes)
    predicted: dict[str, Any] = {"scores": record.scores, "labels": record.labels, "masks": record.masks}
    there: dict[str, Any] = {"labels": record.true_labels, "crowd": record.crowd, "difficult": record.difficult}
    there |= {"area": record.area, "masks": record.true_masks}
    for side, fields, count in (("predicted", predicted, found), ("true", there, true)):
        for name, values in fields.items():
            if values is not None and len(values) != count:
                raise VisionkitError(f"image {image_id}: {count} {side} boxes, but {len(values)} {name}")
    for side, labels in (("predicted", record.labels), ("true", record.true_labels)):
        wrong = labels[(labels < 0) | (labels >= classes)]
        if len(wrong):
            raise VisionkitError(f"image {image_id}: {side} label {wrong[0]}, but labels are 0 to {classes - 1}")


def _record(prediction: dict[str, Any], target: dict[str, Any]) -> Record:
    true_boxes = as_floats(target["boxes"]).reshape(-1, 4)
    count = len(true_boxes)
    sides = true_boxes[:, 2:] - true_boxes[:, :2]
    return Record(
        size=tuple(target.get("size", (0, 0))),
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


def as_array(values: Any, dtype: Any) -> NDArray[Any]:
    """A tensor, array or list as an array of `dtype` on the CPU."""
    return np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values).astype(dtype)


def as_floats(values: Any) -> NDArray[np.float64]:
    """A tensor, array or list as float64: exact for any float type, bfloat16 among them, which numpy lacks."""
    return as_array(values.detach().double() if isinstance(values, Tensor) else values, np.float64)


detection_metrics: Registry[Callable[..., DetectionMetric]] = Registry("metric", "visionkit.metrics")
"""Metrics of `evaluation.metric`; each entry is called as `entry(class_names=..., category_ids=...)`."""
