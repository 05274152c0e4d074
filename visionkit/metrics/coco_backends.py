"""Libraries that compute COCO's precision and recall: hotcoco (fast) and pycocotools (the reference)."""

import contextlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visionkit.metrics.coco_arrays import CocoArrays, IouType
from visionkit.registry import Registry
from visionkit.structures import Rle

ImageSizes = list[tuple[int, int]]
"""(height, width) of each image."""

PrecisionRecall = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Precision [T, R, K, A, M] and recall [T, K, A, M] over IoU thresholds, recall points, classes, areas and
detection limits, as in pycocotools; -1 where a value is not defined."""

Backend = Callable[[CocoArrays, CocoArrays, ImageSizes, int, IouType, list[int]], PrecisionRecall]
"""Called with ground truth, predictions, image sizes, number of classes, IoU type and detection limits."""

coco_backends: Registry[Backend] = Registry("COCO evaluation backend")


@coco_backends.register("hotcoco")
def evaluate_with_hotcoco(
    ground_truth: CocoArrays,
    predictions: CocoArrays,
    sizes: ImageSizes,
    num_classes: int,
    iou_type: IouType,
    max_detections: list[int],
) -> PrecisionRecall:
    """Return precision and recall computed by hotcoco."""
    from hotcoco import COCOeval

    evaluation = COCOeval(*hotcoco_datasets(ground_truth, predictions, sizes, num_classes), iou_type)
    return _evaluate(evaluation, max_detections)


@coco_backends.register("pycocotools")
def evaluate_with_pycocotools(
    ground_truth: CocoArrays,
    predictions: CocoArrays,
    sizes: ImageSizes,
    num_classes: int,
    iou_type: IouType,
    max_detections: list[int],
) -> PrecisionRecall:
    """Return precision and recall computed by pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    true_coco, predicted_coco = COCO(), COCO()
    for coco, arrays in ((true_coco, ground_truth), (predicted_coco, predictions)):
        annotations = _annotations(arrays)
        coco.dataset = {"images": _images(sizes), "categories": _categories(num_classes), "annotations": annotations}
        with contextlib.redirect_stdout(io.StringIO()):
            coco.createIndex()
    return _evaluate(COCOeval(true_coco, predicted_coco, iou_type), max_detections)


def hotcoco_datasets(
    ground_truth: CocoArrays, predictions: CocoArrays, sizes: ImageSizes, num_classes: int
) -> tuple[Any, Any]:
    """Return ground truth and predictions as hotcoco's COCO objects; row i of either has annotation id i + 1.

    Args:
        ground_truth: the ground truth, with masks if masks are compared.
        predictions: the predictions, likewise.
        sizes: (height, width) of each image.
        num_classes: number of classes; label k becomes category k + 1.
    """
    from hotcoco import COCO

    columns: dict[str, Any] = {"area": ground_truth.area, "iscrowd": ground_truth.crowd.astype(np.int64)}
    if ground_truth.masks is not None:
        columns["segmentation"] = ground_truth.masks
    images, categories = _images(sizes), _categories(num_classes)
    true_coco = COCO.from_arrays(
        images, categories, ground_truth.image_ids, ground_truth.labels + 1, ground_truth.boxes, **columns
    )
    table = np.column_stack([predictions.image_ids, predictions.boxes, predictions.scores, predictions.labels + 1])
    masks: list[Any] | None = predictions.masks
    predicted_coco = true_coco.load_res(table, segmentation=masks)
    predicted_coco.update_anns(ids=np.arange(1, len(table) + 1), area=predictions.area)  # of the mask, not of its box
    return true_coco, predicted_coco


def _evaluate(evaluation: Any, max_detections: list[int]) -> PrecisionRecall:
    evaluation.params.maxDets = max_detections
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
    return np.asarray(evaluation.eval["precision"]), np.asarray(evaluation.eval["recall"])


def _images(sizes: ImageSizes) -> list[dict[str, int]]:
    return [{"id": number, "height": size[0], "width": size[1]} for number, size in enumerate(sizes, start=1)]


def _categories(num_classes: int) -> list[dict[str, Any]]:
    return [{"id": label + 1, "name": str(label)} for label in range(num_classes)]


def _annotations(arrays: CocoArrays) -> list[dict[str, Any]]:
    """Return the rows as pycocotools' dicts; ids start at 1, because pycocotools takes id 0 for "no match"."""
    no_masks: list[Rle | None] = [None] * len(arrays)
    rows = zip(
        arrays.image_ids.tolist(),
        (arrays.labels + 1).tolist(),
        arrays.boxes.tolist(),
        arrays.scores.tolist(),
        arrays.area.tolist(),
        arrays.crowd.astype(int).tolist(),
        arrays.masks or no_masks,
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
        for number, (image_id, category, box, score, area, crowd, mask) in enumerate(rows, start=1)
    ]
