"""The programs that compute COCO's precision and recall curves: hotcoco (fast) and pycocotools (the reference)."""

import contextlib
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visionkit.metrics.coco_arrays import Columns, Kind
from visionkit.registry import Registry

Sizes = list[tuple[int, int]]
Curves = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Precision [T, R, K, A, M] and recall [T, K, A, M] over IoU thresholds, recall points, classes, areas and
detection limits, as pycocotools lays them out; -1 where nothing is defined."""

Evaluate = Callable[[Columns, Columns, Sizes, int, Kind, list[int]], Curves]
backends: Registry[Evaluate] = Registry("COCO evaluation backend")


@backends.register("hotcoco")
def with_hotcoco(truth: Columns, found: Columns, sizes: Sizes, classes: int, kind: Kind, limits: list[int]) -> Curves:
    """The curves by hotcoco, which takes whole columns."""
    from hotcoco import COCOeval

    return _run(COCOeval(*hotcoco_pair(truth, found, sizes, classes), kind), limits)


@backends.register("pycocotools")
def with_pycocotools(
    truth: Columns, found: Columns, sizes: Sizes, classes: int, kind: Kind, limits: list[int]
) -> Curves:
    """The curves by pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    reference, results = COCO(), COCO()
    for coco, columns in ((reference, truth), (results, found)):
        annotations = _annotations(columns)
        coco.dataset = {"images": _images(sizes), "categories": _categories(classes), "annotations": annotations}
        with contextlib.redirect_stdout(io.StringIO()):
            coco.createIndex()
    return _run(COCOeval(reference, results, kind), limits)


def hotcoco_pair(truth: Columns, found: Columns, sizes: Sizes, classes: int) -> tuple[Any, Any]:
    """Ground truth and predictions as hotcoco's COCO objects; row i of either has annotation id i + 1.

    Args:
        truth: the ground truth, with masks where masks are to be compared.
        found: the predictions, likewise.
        sizes: (height, width) of each image.
        classes: number of classes; label k becomes category k + 1.
    """
    from hotcoco import COCO

    columns: dict[str, Any] = {"area": truth.area, "iscrowd": truth.crowd.astype(np.int64)}
    if truth.masks is not None:
        columns["segmentation"] = truth.masks
    reference = COCO.from_arrays(
        _images(sizes), _categories(classes), truth.image_ids, truth.labels + 1, truth.boxes, **columns
    )
    table = np.column_stack([found.image_ids, found.boxes, found.scores, found.labels + 1])
    results = reference.load_res(table, segmentation=found.masks)
    results.update_anns(ids=np.arange(1, len(table) + 1), area=found.area)  # of the mask, not of its box
    return reference, results


def _run(evaluation: Any, limits: list[int]) -> Curves:
    evaluation.params.maxDets = limits
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
    return np.asarray(evaluation.eval["precision"]), np.asarray(evaluation.eval["recall"])


def _images(sizes: Sizes) -> list[dict[str, int]]:
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
