"""COCO's average precision and recall (cocodataset.org/#detection-eval), from tensors to the twelve numbers."""

import contextlib
import io
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from visionkit.metrics.records import DetectionMetric, Record
from visionkit.metrics.registry import metrics
from visionkit.metrics.results import to_xywh
from visionkit.registry import Registry

logger = logging.getLogger("visionkit")

Kind = Literal["bbox", "segm"]
Curves = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Precision [T, R, K, A, M] and recall [T, K, A, M] over IoU thresholds, recall points, classes, areas and
detection limits, as pycocotools lays them out; -1 where nothing is defined."""

AREAS = {"": 0, "s": 1, "m": 2, "l": 3}
"""Suffix of a figure and its index on the area axis: all, small (< 32^2), medium, large (> 96^2 square pixels)."""
IOU_50, IOU_75 = 0, 5


@metrics.register("coco")
class CocoAP(DetectionMetric):
    """AP over IoU .50 to .95, AP50, AP75, AP and AR by object size, AR by number of detections.

    `compute` returns these by name, and AP and AP50 of each class as "AP/<class>"; what is not defined
    because there are no such objects is NaN.

    Args:
        class_names: K names in label order.
        category_ids: the data set's own ids; only the order of classes depends on them.
        kind: whether boxes or masks are compared.
        backend: hotcoco (fast) or pycocotools (the reference); they give the same numbers.
        max_detections: limits a picture and class for AR; AP takes the last.
    """

    main = "AP"

    def __init__(
        self,
        class_names: Sequence[str],
        category_ids: Sequence[int] | None = None,
        kind: Kind = "bbox",
        backend: Literal["hotcoco", "pycocotools"] = "hotcoco",
        max_detections: Sequence[int] = (1, 10, 100),
    ) -> None:
        super().__init__()
        self.class_names, self.kind = list(class_names), kind
        self.evaluate = backends.get(backend)
        self.max_detections = sorted(max_detections)
        self._warned = False

    def compute(self) -> dict[str, float]:
        """The figures over all pictures seen by all processes."""
        records = list(self.gathered().values())
        self._warn_of_crowded_pictures(records)
        precision, recall = self._curves(records)
        return {**self._overall(precision, recall), **self._by_class(precision)}

    def _curves(self, records: list[Record]) -> Curves:
        truth, found = _truth_columns(records, self.kind), _found_columns(records, self.kind)
        if not records or not len(truth.image_ids):
            shape = (10, 101, len(self.class_names), 4, len(self.max_detections))
            return -np.ones(shape), -np.ones((10, *shape[2:]))
        sizes = [record.size for record in records]
        return self.evaluate(truth, found, sizes, len(self.class_names), self.kind, self.max_detections)

    def _overall(self, precision: NDArray[np.float64], recall: NDArray[np.float64]) -> dict[str, float]:
        figures = {"AP": _mean(precision[..., 0, -1])}
        figures["AP50"] = _mean(precision[IOU_50, ..., 0, -1])
        figures["AP75"] = _mean(precision[IOU_75, ..., 0, -1])
        by_size = {suffix: area for suffix, area in AREAS.items() if suffix}
        figures |= {f"AP{suffix}": _mean(precision[..., area, -1]) for suffix, area in by_size.items()}
        figures |= {f"AR{limit}": _mean(recall[..., 0, index]) for index, limit in enumerate(self.max_detections)}
        return figures | {f"AR{suffix}": _mean(recall[..., area, -1]) for suffix, area in by_size.items()}

    def _by_class(self, precision: NDArray[np.float64]) -> dict[str, float]:
        classes = list(enumerate(self.class_names))
        figures = {f"AP/{name}": _mean(precision[:, :, label, 0, -1]) for label, name in classes}
        return figures | {f"AP50/{name}": _mean(precision[IOU_50, :, label, 0, -1]) for label, name in classes}

    def _warn_of_crowded_pictures(self, records: list[Record]) -> None:
        most = max((len(record.true_labels) for record in records), default=0)
        if most > self.max_detections[-1] and not self._warned:
            self._warned = True
            logger.warning(
                "a picture has %d objects, and only %d detections a picture are scored: raise max_detections",
                most,
                self.max_detections[-1],
            )


@dataclass
class Columns:
    """Boxes of all pictures as columns of equal length; pictures and annotations are numbered from 1, labels from 0."""

    image_ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    area: NDArray[np.float64]
    crowd: NDArray[np.bool_]
    masks: list[Any] | None


def _truth_columns(records: list[Record], kind: Kind) -> Columns:
    counts = [len(record.true_labels) for record in records]
    return Columns(
        image_ids=np.repeat(np.arange(1, len(records) + 1), counts),
        labels=_joined([record.true_labels for record in records], np.int64),
        boxes=to_xywh(_joined([record.true_boxes for record in records]).reshape(-1, 4)),
        scores=np.ones(sum(counts)),
        area=_joined([record.area for record in records]),
        crowd=_joined([record.crowd for record in records], np.bool_),
        masks=[code for record in records for code in record.true_masks or []] if kind == "segm" else None,
    )


def _found_columns(records: list[Record], kind: Kind) -> Columns:
    counts = [len(record.labels) for record in records]
    boxes = to_xywh(_joined([record.boxes for record in records]).reshape(-1, 4))
    masks = [code for record in records for code in record.masks or []] if kind == "segm" else None
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


def _mean(values: NDArray[np.float64]) -> float:
    defined = values[values > -1]
    return float(defined.mean()) if len(defined) else float("nan")


Evaluate = Callable[[Columns, Columns, list[tuple[int, int]], int, Kind, list[int]], Curves]
backends: Registry[Evaluate] = Registry("COCO evaluation backend")


@backends.register("hotcoco")
def _with_hotcoco(
    truth: Columns, found: Columns, sizes: list[tuple[int, int]], classes: int, kind: Kind, limits: list[int]
) -> Curves:
    from hotcoco import COCO, COCOeval

    reference = COCO.from_arrays(
        _images(sizes),
        _categories(classes),
        truth.image_ids,
        truth.labels + 1,
        truth.boxes,
        area=truth.area,
        iscrowd=truth.crowd.astype(np.int64),
        segmentation=truth.masks,
    )
    table = np.column_stack([found.image_ids, found.boxes, found.scores, found.labels + 1])
    results = reference.load_res(table, segmentation=found.masks)
    results.update_anns(ids=np.arange(1, len(table) + 1), area=found.area)  # of the mask, not of its box
    return _run(COCOeval(reference, results, kind), limits)


@backends.register("pycocotools")
def _with_pycocotools(
    truth: Columns, found: Columns, sizes: list[tuple[int, int]], classes: int, kind: Kind, limits: list[int]
) -> Curves:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    reference, results = COCO(), COCO()
    for coco, columns in ((reference, truth), (results, found)):
        annotations = _annotations(columns)
        coco.dataset = {"images": _images(sizes), "categories": _categories(classes), "annotations": annotations}
        with contextlib.redirect_stdout(io.StringIO()):
            coco.createIndex()
    return _run(COCOeval(reference, results, kind), limits)


def _run(evaluation: Any, limits: list[int]) -> Curves:
    evaluation.params.maxDets = limits
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
    return np.asarray(evaluation.eval["precision"]), np.asarray(evaluation.eval["recall"])


def _images(sizes: list[tuple[int, int]]) -> list[dict[str, int]]:
    return [{"id": number, "height": size[0], "width": size[1]} for number, size in enumerate(sizes, start=1)]


def _categories(classes: int) -> list[dict[str, Any]]:
    return [{"id": label + 1, "name": str(label)} for label in range(classes)]


def _annotations(columns: Columns) -> list[dict[str, Any]]:
    """The columns as pycocotools' dicts; ids start at 1 because it takes a match with id 0 for none."""
    fields = zip(
        columns.image_ids.tolist(),
        (columns.labels + 1).tolist(),
        columns.boxes.tolist(),
        columns.scores.tolist(),
        columns.area.tolist(),
        columns.crowd.astype(int).tolist(),
        columns.masks or [None] * len(columns.labels),
        strict=True,
    )
    return [
        {
            "id": number,
            "image_id": image_id,
            "category_id": category,
            "bbox": box,
            "score": score,
            "area": area,
            "iscrowd": crowd,
            **({"segmentation": mask} if mask is not None else {}),
        }
        for number, (image_id, category, box, score, area, crowd, mask) in enumerate(fields, start=1)
    ]
