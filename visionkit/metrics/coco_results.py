"""Predictions in COCO's results format."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from pycocotools import mask as rle

from visionkit.errors import DataError
from visionkit.metrics.records import as_array, as_floats


def to_xywh(boxes: np.ndarray) -> np.ndarray:
    """Corner boxes xyxy [N, 4] as corner and side lengths xywh [N, 4]."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def to_coco_results(predictions: Sequence[dict[str, Any]], category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Write predictions as a COCO results list.

    Args:
        predictions: per image image_id, boxes [M, 4] xyxy, scores [M], labels [M], maybe masks (M RLEs).
        category_ids: the data set's own id of each label.

    Returns:
        A dict a box: image_id, category_id, bbox (xywh), score, and segmentation where there are masks.
    """
    return [row for prediction in predictions for row in _rows(prediction, np.asarray(category_ids))]


def from_coco_results(rows: Iterable[dict[str, Any]], category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Read predictions from a COCO results list.

    Args:
        rows: what `to_coco_results` wrote, or any detector's results file.
        category_ids: the data set's own id of each label.

    Returns:
        Per image image_id, boxes float32 [M, 4] xyxy, scores float32 [M] falling, labels int64 [M], and masks
        (M RLEs) where the rows have them. The format has no entry for an image without predictions.

    Raises:
        DataError: a category id that is not in `category_ids`.
    """
    label_of = {category: label for label, category in enumerate(category_ids)}
    images: dict[int | str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["category_id"] not in label_of:
            raise DataError(f"image {row['image_id']}: category id {row['category_id']} is not in the data set")
        images.setdefault(row["image_id"], []).append(row)
    return [_prediction(image_id, found, label_of) for image_id, found in images.items()]


def _prediction(image_id: int | str, rows: list[dict[str, Any]], label_of: dict[int, int]) -> dict[str, Any]:
    rows = sorted(rows, key=lambda row: -float(row["score"]))
    masks = [row["segmentation"] for row in rows if "segmentation" in row]
    if masks and len(masks) < len(rows):
        raise DataError(f"image {image_id}: {len(rows)} predictions, but {len(masks)} masks")
    prediction = {
        "image_id": image_id,
        "boxes": torch.tensor(_corners(rows), dtype=torch.float32),
        "scores": torch.tensor([row["score"] for row in rows], dtype=torch.float32),
        "labels": torch.tensor([label_of[row["category_id"]] for row in rows], dtype=torch.int64),
    }
    return {**prediction, "masks": masks} if masks else prediction


def _corners(rows: list[dict[str, Any]]) -> np.ndarray:
    """Boxes xyxy [M, 4] of the rows; COCO's mask results may have none, then it is the mask's."""
    boxes = np.array([row["bbox"] if "bbox" in row else rle.toBbox(row["segmentation"]) for row in rows], np.float64)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


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
