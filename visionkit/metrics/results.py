"""Predictions in COCO's results format."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from visionkit.metrics.records import as_array, as_floats


def to_xywh(boxes: np.ndarray) -> np.ndarray:
    """Corner boxes xyxy [N, 4] as corner and side lengths xywh [N, 4]."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def to_coco_results(predictions: Sequence[dict[str, Any]], category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Write predictions as a COCO results list.

    Args:
        predictions: per picture image_id, boxes [M, 4] xyxy, scores [M], labels [M], maybe masks (M RLEs).
        category_ids: the data set's own id of each label.

    Returns:
        A dict a box: image_id, category_id, bbox (xywh), score, and segmentation where there are masks.
    """
    return [row for prediction in predictions for row in _rows(prediction, np.asarray(category_ids))]


def _rows(prediction: dict[str, Any], category_ids: np.ndarray) -> list[dict[str, Any]]:
    boxes = to_xywh(as_floats(prediction["boxes"]).reshape(-1, 4)).tolist()
    categories = category_ids[as_array(prediction["labels"], np.int64)].tolist()
    scores = as_floats(prediction["scores"]).tolist()
    rows: list[dict[str, Any]] = [
        {"image_id": prediction["image_id"], "category_id": category, "bbox": box, "score": score}
        for category, box, score in zip(categories, boxes, scores, strict=True)
    ]
    for row, code in zip(rows, prediction.get("masks") or [], strict=False):
        counts = code["counts"]
        text = counts.decode() if isinstance(counts, bytes) else counts
        row["segmentation"] = {"size": list(code["size"]), "counts": text}
    return rows
