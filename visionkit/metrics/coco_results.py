"""Predictions in COCO's results format (https://cocodataset.org/#format-results)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools import mask as rle

from visionkit.errors import DataError
from visionkit.metrics.detection_columns import as_array, as_floats


def to_xywh(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return boxes xyxy [N, 4] as corner and side lengths xywh [N, 4]."""
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


def to_coco_results(predictions: Sequence[Mapping[str, Any]], category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return the boxes of predictions as a COCO results list.

    Args:
        predictions: per image `image_id`, `boxes` [M, 4] xyxy, `scores` [M], `labels` [M].
        category_ids: the dataset's own id of each label.

    Returns:
        One dict per box: `image_id`, `category_id`, `bbox` (xywh), `score`.

    Example:
        >>> from visionkit.metrics.coco_results import to_coco_results
        >>> prediction = {"image_id": 7, "boxes": [[10, 20, 40, 60]], "scores": [0.5], "labels": [1]}
        >>> to_coco_results([prediction], category_ids=[3, 18])
        [{'image_id': 7, 'category_id': 18, 'bbox': [10.0, 20.0, 30.0, 40.0], 'score': 0.5}]
    """
    return [
        {"image_id": image_id, "category_id": category, "bbox": box, "score": score}
        for prediction in predictions
        for (image_id, category, score), box in zip(
            _ids_and_scores(prediction, category_ids),
            to_xywh(as_floats(prediction["boxes"]).reshape(-1, 4)).tolist(),
            strict=True,
        )
    ]


def to_coco_mask_results(predictions: Sequence[Mapping[str, Any]], category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return the masks of predictions as a COCO results list.

    The rows have no `bbox`: pycocotools takes the area of a result from its box where it has one, and the metrics by
    object size would be those of the boxes.

    Args:
        predictions: per image `image_id`, `masks` (M RLEs), `scores` [M], `labels` [M].
        category_ids: the dataset's own id of each label.

    Returns:
        One dict per mask: `image_id`, `category_id`, `segmentation` (RLE with text as counts), `score`.
    """
    return [
        {"image_id": image_id, "category_id": category, "segmentation": _text_rle(mask), "score": score}
        for prediction in predictions
        for (image_id, category, score), mask in zip(
            _ids_and_scores(prediction, category_ids), prediction["masks"], strict=True
        )
    ]


def from_coco_results(rows: Iterable[dict[str, Any]], category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Return the predictions of a COCO results list.

    Args:
        rows: a list from `to_coco_results` or `to_coco_mask_results`, or the results file of any detector.
        category_ids: the dataset's own id of each label.

    Returns:
        Per image `image_id`, `boxes` float32 [M, 4] xyxy, `scores` float32 [M] in descending order, `labels` int64 [M],
        and `masks` (M RLEs) if the rows have them. The format has no entry for an image without predictions.

    Raises:
        DataError: a category id is not in `category_ids`, or only some rows of an image have masks.
    """
    label_of = {category: label for label, category in enumerate(category_ids)}
    rows_of_image: dict[int | str, list[dict[str, Any]]] = {}
    for row in rows:
        if row["category_id"] not in label_of:
            raise DataError(f"image {row['image_id']}: category id {row['category_id']} is not in the dataset")
        rows_of_image.setdefault(row["image_id"], []).append(row)
    return [_prediction(image_id, rows, label_of) for image_id, rows in rows_of_image.items()]


def _prediction(image_id: int | str, rows: list[dict[str, Any]], label_of: dict[int, int]) -> dict[str, Any]:
    rows = sorted(rows, key=lambda row: -float(row["score"]))
    masks = [row["segmentation"] for row in rows if "segmentation" in row]
    if masks and len(masks) < len(rows):
        raise DataError(f"image {image_id}: {len(rows)} predictions, but {len(masks)} masks")
    prediction = {
        "image_id": image_id,
        "boxes": torch.tensor(_boxes(rows), dtype=torch.float32),
        "scores": torch.tensor([row["score"] for row in rows], dtype=torch.float32),
        "labels": torch.tensor([label_of[row["category_id"]] for row in rows], dtype=torch.int64),
    }
    return {**prediction, "masks": masks} if masks else prediction


def _boxes(rows: list[dict[str, Any]]) -> NDArray[np.float64]:
    """Return the boxes xyxy [M, 4] of the rows; results of masks may have none, then it is the box of the mask."""
    boxes = np.array([row["bbox"] if "bbox" in row else rle.toBbox(row["segmentation"]) for row in rows], np.float64)
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)


def _ids_and_scores(prediction: Mapping[str, Any], category_ids: Sequence[int]) -> list[tuple[int | str, int, float]]:
    """Return image id, category id and score of each detection of one image."""
    categories = np.asarray(category_ids)[as_array(prediction["labels"], np.int64)].tolist()
    scores = as_floats(prediction["scores"]).tolist()
    return [(prediction["image_id"], *pair) for pair in zip(categories, scores, strict=True)]


def _text_rle(mask: Mapping[str, Any]) -> dict[str, Any]:
    counts = mask["counts"]
    return {"size": list(mask["size"]), "counts": counts.decode() if isinstance(counts, bytes) else counts}
