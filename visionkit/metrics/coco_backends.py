"""Libraries that compute COCO's precision and recall: hotcoco (fast) and pycocotools (the reference)."""

import contextlib
import io
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from visionkit.metrics.coco_matches import COCO_AREAS
from visionkit.metrics.coco_results import to_xywh
from visionkit.metrics.detection_columns import BoxColumns, DetectionColumns, IouType
from visionkit.registry import Registry
from visionkit.structures import Rle


class PrecisionRecall(NamedTuple):
    """Precision and recall as in pycocotools; -1 where a value is not defined.

    Attributes:
        precision: [T, R, K, A] over IoU thresholds, recall points, classes and areas, at the largest detection limit.
        recall: [T, K, A], at the largest detection limit.
        limited_recall: [T, K, M] over the detection limits, for objects of all sizes.
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    limited_recall: NDArray[np.float64]


Backend = Callable[[DetectionColumns, int, IouType, list[int]], PrecisionRecall]
"""Called with the images, number of classes, IoU type and detection limits. COCO has no difficult objects; they are
taken as crowd regions."""

coco_backends: Registry[Backend] = Registry("COCO evaluation backend")


@coco_backends.register("hotcoco")
def evaluate_with_hotcoco(
    columns: DetectionColumns, num_classes: int, iou_type: IouType, max_detections: list[int]
) -> PrecisionRecall:
    """Return precision and recall computed by hotcoco."""
    evaluation = hotcoco_evaluation(columns, num_classes, iou_type)
    evaluation.params.maxDets = max_detections
    evaluation.evaluate()
    # Curves at the smaller limits are not needed, and take as long as all else together.
    evaluation.params.maxDets = max_detections[-1:]
    evaluation.accumulate()
    curves = evaluation.eval
    evaluation.params.maxDets = max_detections
    evaluation.params.areaRng, evaluation.params.areaRngLbl = [list(COCO_AREAS[""])], ["all"]
    evaluation.accumulate()
    limited = np.asarray(evaluation.eval["recall"])[:, :, 0]
    return PrecisionRecall(np.asarray(curves["precision"])[..., 0], np.asarray(curves["recall"])[..., 0], limited)


@coco_backends.register("pycocotools")
def evaluate_with_pycocotools(
    columns: DetectionColumns, num_classes: int, iou_type: IouType, max_detections: list[int]
) -> PrecisionRecall:
    """Return precision and recall computed by pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    true_coco, predicted_coco = COCO(), COCO()
    true = _annotations(columns.true, columns.true.areas, _masks(columns.true, "target", iou_type))
    predicted = _annotations(
        columns.predicted, columns.predicted.compared_areas(iou_type), _masks(columns.predicted, "prediction", iou_type)
    )
    for coco, annotations in ((true_coco, true), (predicted_coco, predicted)):
        categories = _categories(num_classes)
        coco.dataset = {"images": _images(columns), "categories": categories, "annotations": annotations}
        with contextlib.redirect_stdout(io.StringIO()):
            coco.createIndex()
    evaluation = COCOeval(true_coco, predicted_coco, iou_type)
    evaluation.params.maxDets = max_detections
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]
    return PrecisionRecall(precision[..., -1], recall[..., -1], recall[:, :, 0])


def hotcoco_evaluation(columns: DetectionColumns, num_classes: int, iou_type: IouType) -> Any:
    """Return hotcoco's `COCOeval`, in which row i of the true or predicted boxes has annotation id i + 1.

    Args:
        columns: the images, numbered from 1 there; at least one true box.
        num_classes: number of classes; label k becomes category k + 1.
        iou_type: whether boxes or masks are compared.

    Raises:
        VisionkitError: masks are compared, and a box has none.
    """
    from hotcoco import COCO, COCOeval

    true, predicted = columns.true, columns.predicted
    true_masks, masks = (_masks(side, name, iou_type) for side, name in ((true, "target"), (predicted, "prediction")))
    true_coco = COCO.from_arrays(
        _images(columns),
        _categories(num_classes),
        true.images + 1,
        true.labels + 1,
        to_xywh(true.boxes),
        area=true.areas,
        iscrowd=true.ignored.astype(np.int64),
        segmentation=true_masks,
    )
    boxes = to_xywh(predicted.boxes)
    table = np.column_stack([predicted.images + 1, boxes, predicted.scores, predicted.labels + 1])
    predicted_coco = true_coco.load_res(table, segmentation=masks)
    if masks is not None:  # load_res takes the area of the box
        predicted_coco.update_anns(ids=np.arange(1, len(table) + 1), area=predicted.compared_areas(iou_type))
    return COCOeval(true_coco, predicted_coco, iou_type)


def _masks(columns: BoxColumns, side: str, iou_type: IouType) -> list[Any] | None:
    return columns.required_masks(side) if iou_type == "segm" else None


def _images(columns: DetectionColumns) -> list[dict[str, int]]:
    sizes = enumerate(columns.sizes.tolist(), start=1)
    return [{"id": number, "height": height, "width": width} for number, (height, width) in sizes]


def _categories(num_classes: int) -> list[dict[str, Any]]:
    return [{"id": label + 1, "name": str(label)} for label in range(num_classes)]


def _annotations(columns: BoxColumns, areas: NDArray[np.float64], masks: list[Rle] | None) -> list[dict[str, Any]]:
    """Return the rows as pycocotools' dicts; ids start at 1, because pycocotools takes id 0 for "no match"."""
    no_masks: list[Rle | None] = [None] * len(columns)
    rows = zip(
        (columns.images + 1).tolist(),
        (columns.labels + 1).tolist(),
        to_xywh(columns.boxes).tolist(),
        columns.scores.tolist(),
        areas.tolist(),
        columns.ignored.astype(int).tolist(),
        masks or no_masks,
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
