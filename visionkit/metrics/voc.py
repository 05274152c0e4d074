"""Pascal VOC's average precision, by the rules of its development kit (VOCevaldet.m)."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from visionkit.metrics.detection import DetectionMetric, detection_metrics
from visionkit.metrics.image_record import ImageRecord
from visionkit.metrics.results import MetricResults, per_class_values
from visionkit.registry import Registry

Floats = NDArray[np.float64]


class VocAP(DetectionMetric):
    """AP at one IoU threshold, as mean over the classes and per class, named by the threshold ("AP50").

    Detections of one class are processed in descending order of score; equal scores in the order of images and boxes.
    Each is compared with the object of its class with the highest IoU. It is a true positive if that object is not
    matched yet, otherwise a false positive. Matches with difficult objects or crowd regions are ignored. A class
    without objects is NaN and left out of the mean.

    The development kit uses inclusive pixel indices that start at 1, so that a width is `xmax - xmin + 1`. Boxes of
    visionkit are edges: the VOC box (xmin, ymin, xmax, ymax) is read as (xmin - 1, ymin - 1, xmax, ymax). Predictions
    are edges as well. The IoU of edge boxes therefore equals that of the development kit.

    Args:
        class_names: K names in label order.
        mode: "11-point" is the rule of VOC2007, "all-point" that of VOC2010 and later.
        iou_threshold: IoU from which a detection matches; 0.75 gives "AP75".

    Example:
        >>> import torch
        >>> from visionkit.metrics.voc import VocAP
        >>> boxes, labels = torch.tensor([[10.0, 10, 50, 40]]), torch.tensor([0])
        >>> metric = VocAP(["cat", "dog"])
        >>> prediction = {"boxes": boxes, "scores": torch.tensor([0.9]), "labels": labels}
        >>> metric.update([prediction], [{"boxes": boxes, "labels": labels, "image_id": 1}])
        >>> metric.compute().per_class
        {'AP50': {'cat': 1.0, 'dog': nan}}
    """

    def __init__(
        self,
        class_names: Sequence[str],
        mode: Literal["11-point", "all-point"] = "11-point",
        iou_threshold: float = 0.5,
    ) -> None:
        super().__init__(class_names)
        self.mode, self.iou_threshold = mode, iou_threshold
        self.main_metric = f"AP{round(100 * iou_threshold)}"
        self.average_precision = ap_rules.get(mode)

    def compute(self) -> MetricResults:
        """Return the mean AP and that of each class over the images of all processes."""
        records = list(self.gathered_records().values())
        values = [self._class_ap(records, label) for label in range(len(self.class_names))]
        defined = [value for value in values if not np.isnan(value)]
        mean = float(np.mean(defined)) if defined else float("nan")
        return MetricResults({self.main_metric: mean}, {self.main_metric: per_class_values(self.class_names, values)})

    def _class_ap(self, records: list[ImageRecord], label: int) -> float:
        images = [_of_class(record, label) for record in records]
        objects = sum(int((~image.ignored).sum()) for image in images)
        if not objects:
            return float("nan")
        scores = np.concatenate([image.scores for image in images])
        order = np.argsort(-scores, kind="stable")
        matched, counted = self._match(images, order)
        true_positives, false_positives = np.cumsum(matched & counted), np.cumsum(~matched & counted)
        precision = true_positives / np.maximum(true_positives + false_positives, 1)
        return self.average_precision(true_positives / objects, precision)

    def _match(
        self, images: list["_ClassBoxes"], order: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Return for each detection in `order` whether it is a true positive, and whether it counts at all."""
        best = [_best_matches(image.boxes, image.true_boxes) for image in images]
        offsets = np.cumsum([0] + [len(image.ignored) for image in images])[:-1]
        iou = np.concatenate([iou for iou, _ in best])[order]
        target = np.concatenate([index + offset for (_, index), offset in zip(best, offsets, strict=True)])[order]
        above = iou >= self.iou_threshold
        ignored = np.append(np.concatenate([image.ignored for image in images]), False)
        target = np.where(above, target, len(ignored) - 1)  # the appended entry is no object
        is_first = np.zeros(len(order), bool)
        is_first[np.unique(target, return_index=True)[1]] = True
        return above & is_first & ~ignored[target], ~(above & ignored[target])


class _ClassBoxes(NamedTuple):
    """Detections (M) and objects (N) of one class in one image."""

    boxes: Floats
    scores: Floats
    true_boxes: Floats
    ignored: NDArray[np.bool_]
    """bool [N], difficult objects and crowd regions"""


def _of_class(record: ImageRecord, label: int) -> _ClassBoxes:
    predicted, true = record.labels == label, record.true_labels == label
    ignored = (record.difficult | record.crowd)[true]
    return _ClassBoxes(record.boxes[predicted], record.scores[predicted], record.true_boxes[true], ignored)


def _best_matches(boxes: Floats, true_boxes: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Return for each box the highest IoU [M] with an object and the object's index [M]; 0 without objects."""
    if not len(true_boxes):
        return np.zeros(len(boxes)), np.zeros(len(boxes), np.int64)
    iou = _box_iou(boxes, true_boxes)
    best = iou.argmax(axis=1)
    return iou[np.arange(len(boxes)), best], best


def _box_iou(first: Floats, second: Floats) -> Floats:
    """Return the IoU [M, N] of xyxy boxes in float64, so that values at the threshold are those of the devkit."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    intersection = np.clip(high - low, 0, None).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    return intersection / np.maximum(areas[0][:, None] + areas[1] - intersection, 1e-12)


ApRule = Callable[[Floats, Floats], float]
"""Return the AP of recall and precision [M]."""

ap_rules: Registry[ApRule] = Registry("rule of VOC's AP")


@ap_rules.register("11-point")
def _eleven_point_ap(recall: Floats, precision: Floats) -> float:
    """Return the mean over recall 0, 0.1, ..., 1 of the highest precision at that recall or above (VOC2007)."""
    # A tenth computed by division equals the devkit's 0:0.1:1; a float32 grid would miss exact recalls.
    highest = [precision[recall >= tenth / 10].max(initial=0.0) for tenth in range(11)]
    return float(np.mean(highest))


@ap_rules.register("all-point")
def _all_point_ap(recall: Floats, precision: Floats) -> float:
    """Return the area under the monotonic precision-recall curve (VOC2010 and later)."""
    recall = np.concatenate([[0.0], recall, [1.0]])
    envelope = np.maximum.accumulate(np.concatenate([[0.0], precision, [0.0]])[::-1])[::-1]
    return float(np.sum(np.diff(recall) * envelope[1:]))


@detection_metrics.register("voc07")
def voc2007(class_names: Sequence[str]) -> VocAP:
    """Return AP50 by the rule of VOC2007 (11-point)."""
    return VocAP(class_names, mode="11-point")


@detection_metrics.register("voc10")
def voc2010(class_names: Sequence[str]) -> VocAP:
    """Return AP50 by the rule of VOC2010 and later (all-point)."""
    return VocAP(class_names, mode="all-point")
