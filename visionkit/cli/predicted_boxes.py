"""Predicted boxes and masks in COCO's results format, from any program."""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from visionkit.data.datasets.base import VisionDataset
from visionkit.data.datasets.image_path import image_path
from visionkit.data.io.json_files import read_json
from visionkit.errors import DataError
from visionkit.metrics.coco_results import from_coco_results

NOTHING: dict[str, Any] = {"boxes": [], "scores": [], "labels": []}
"""Predictions of an image that the file does not name."""


def read_predicted_boxes(
    path: Path, dataset: VisionDataset, category_ids: list[int]
) -> dict[int | str, dict[str, Any]]:
    """Return the predictions of the images that the file names, by image id.

    Args:
        path: a JSON list with `image_id` or `file_name`, `category_id`, `score`, and `bbox` or `segmentation`.
        dataset: the images.
        category_ids: the dataset's own id of each class.

    Raises:
        DataError: the file is not such a list, or a row is for an unknown image or category or has no usable score or
            box; the message has the number of the row.
    """
    rows = read_json(path, "predictions file")
    if not isinstance(rows, list):
        raise DataError(f"{path} must be a list of predictions in COCO's results format, not {type(rows).__name__}")
    ids = {dataset.image_id(index) for index in range(len(dataset))}
    names = _ids_by_name(dataset) if any(isinstance(row, dict) and "image_id" not in row for row in rows) else {}
    for number, row in enumerate(rows, start=1):
        _check_row(row, f"{path}, entry {number}", names)
    _check_known(((number, row["image_id"]) for number, row in enumerate(rows, 1)), ids, path, "image_id")
    categories = ((number, row["category_id"]) for number, row in enumerate(rows, 1))
    _check_known(categories, set(category_ids), path, "category_id")
    try:
        found = from_coco_results(rows, category_ids)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return {prediction["image_id"]: prediction for prediction in found}


def has_masks(predictions: Mapping[int | str, Mapping[str, Any]]) -> bool:
    """Return whether all predictions have masks, and there are any."""
    return bool(predictions) and all("masks" in prediction for prediction in predictions.values())


def _check_row(row: Any, where: str, names: Mapping[str, int | str]) -> None:
    """Check a row, and give it the `image_id` of its `file_name`."""
    if not isinstance(row, dict):
        raise DataError(f"{where}: {row!r:.60} is no prediction: give keys such as image_id, category_id, bbox, score")
    if "image_id" not in row and isinstance(row.get("file_name"), str):
        name = row["file_name"]
        if name not in names:
            raise DataError(f"{where}: file_name {name!r} is not the name of one image of the split")
        row["image_id"] = names[name]
    missing = [key for key in ("image_id", "category_id", "score") if key not in row]
    if missing:
        raise DataError(f"{where} has no {missing[0]}")
    score = row["score"]
    if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
        raise DataError(f"{where}: score is {score!r:.60}, and must be a finite number")
    if "bbox" in row and not _is_box(row["bbox"]):
        raise DataError(f"{where}: bbox is {row['bbox']!r:.80}, and must be [x, y, width, height]")
    if "bbox" not in row and "segmentation" not in row:
        raise DataError(f"{where} has neither a bbox nor a segmentation in RLE")
    if not isinstance(row.get("segmentation", {}), dict):
        raise DataError(f"{where}: segmentation must be RLE, an object with size and counts; convert polygons to RLE")


def _is_box(box: Any) -> bool:
    return (
        isinstance(box, list)
        and len(box) == 4
        and all(isinstance(side, int | float) and math.isfinite(side) for side in box)
        and box[2] >= 0
        and box[3] >= 0
    )


def _check_known(found: Iterable[tuple[int, Any]], known: set[Any], path: Path, key: str) -> None:
    for number, value in found:
        if isinstance(value, list | dict) or value not in known:
            examples = ", ".join(map(str, sorted(known, key=str)[:5]))
            raise DataError(f"{path}, entry {number}: {key} {value!r:.60} is not in the split\nit has {examples}, ...")


def _ids_by_name(dataset: VisionDataset) -> dict[str, int | str]:
    """Return the id of each image by its file name, apart from names that several images have."""
    found: dict[str, list[int | str]] = {}
    for index in range(len(dataset)):
        path = image_path(dataset, index)
        if path is not None:
            found.setdefault(path.name, []).append(dataset.image_id(index))
    return {name: ids[0] for name, ids in found.items() if len(ids) == 1}
