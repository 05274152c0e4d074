"""Predicted boxes and masks in COCO's results format, from any program."""

import json
import logging
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from visionkit.cli.image_names import ImageNames
from visionkit.data.datasets.base import VisionDataset
from visionkit.data.datasets.image_path import image_name, image_path
from visionkit.data.datasets.run_length_check import find_invalid_codes
from visionkit.data.io.json_files import read_json
from visionkit.errors import DataError
from visionkit.metrics.coco_results import from_coco_results

logger = logging.getLogger("visionkit")

NOTHING: dict[str, Any] = {"boxes": [], "scores": [], "labels": []}
"""Predictions of an image that the file does not name."""

ROUNDING = 1e-4
"""Distance from 0..1 that the score of a detection may have, such as a mean of float16 values."""


def read_predicted_boxes(
    path: Path, dataset: VisionDataset, category_ids: list[int]
) -> dict[int | str, dict[str, Any]]:
    """Return the predictions of the images that the file names, by image id. Warn of repeated rows.

    Args:
        path: a JSON list with `image_id` or `file_name`, `category_id`, `score`, and `bbox` or `segmentation`.
        dataset: the images.
        category_ids: the dataset's own id of each class.

    Raises:
        DataError: the file is not such a list, or a row is for an unknown image or category or has no usable score,
            box or mask; the message has the number of the row.
    """
    rows = read_json(path, "predictions file")
    if not isinstance(rows, list):
        raise DataError(f"{path} must be a list of predictions in COCO's results format, not {type(rows).__name__}")
    ids = [dataset.image_id(index) for index in range(len(dataset))]
    names = ImageNames([image_path(dataset, index) for index in range(len(dataset))])
    for number, row in enumerate(rows, start=1):
        _check_row(row, f"{path}, entry {number}", names, ids)
    _check_known(((number, row["image_id"]) for number, row in enumerate(rows, 1)), set(ids), path, "image_id")
    categories = ((number, row["category_id"]) for number, row in enumerate(rows, 1))
    _check_known(categories, set(category_ids), path, "category_id")
    _check_codes(rows, path, dataset, {image_id: index for index, image_id in enumerate(ids)})
    _report_repeated(rows, path)
    try:
        found = from_coco_results(rows, category_ids)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return {prediction["image_id"]: prediction for prediction in found}


def has_masks(predictions: Mapping[int | str, Mapping[str, Any]]) -> bool:
    """Return whether all predictions have masks, and there are any."""
    return bool(predictions) and all("masks" in prediction for prediction in predictions.values())


def _check_row(row: Any, where: str, names: ImageNames, ids: Sequence[int | str]) -> None:
    """Check a row, and give it the `image_id` of its `file_name`."""
    if not isinstance(row, dict):
        raise DataError(f"{where}: {row!r:.60} is no prediction: give keys such as image_id, category_id, bbox, score")
    if "image_id" not in row and isinstance(row.get("file_name"), str):
        try:
            row["image_id"] = ids[names.index(row["file_name"])]
        except LookupError as error:
            raise DataError(f"{where}: file_name {row['file_name']!r} {error}") from error
    missing = [key for key in ("image_id", "category_id", "score") if key not in row]
    if missing:
        raise DataError(f"{where} has no {missing[0]}")
    score = row["score"]
    if not _is_finite(score):
        raise DataError(f"{where}: score is {score!r:.60}, and must be a finite number")
    if not -ROUNDING <= score <= 1 + ROUNDING:
        raise DataError(
            f"{where}: score is {score!r:.60}, and must be a probability from 0 to 1, for thresholds and calibration\n"
            "apply a sigmoid or softmax to the outputs of the network; percentages: divide by 100"
        )
    if "bbox" in row and not _is_box(row["bbox"]):
        raise DataError(f"{where}: bbox is {row['bbox']!r:.80}, and must be [x, y, width, height]")
    if "bbox" not in row and "segmentation" not in row:
        raise DataError(f"{where} has neither a bbox nor a segmentation in RLE")
    if not isinstance(row.get("segmentation", {}), dict):
        raise DataError(f"{where}: segmentation must be RLE, an object with size and counts; convert polygons to RLE")


def _is_box(box: Any) -> bool:
    return isinstance(box, list) and len(box) == 4 and all(map(_is_finite, box)) and box[2] >= 0 and box[3] >= 0


def _is_finite(value: Any) -> bool:
    """Return whether a value is a number that a float can hold; integers in JSON can have any number of digits."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _check_known(found: Iterable[tuple[int, Any]], known: set[Any], path: Path, key: str) -> None:
    for number, value in found:
        if isinstance(value, list | dict) or value not in known:
            examples = ", ".join(map(str, sorted(known, key=str)[:5]))
            raise DataError(f"{path}, entry {number}: {key} {value!r:.60} is not in the split\nit has {examples}, ...")


def _check_codes(rows: list[dict[str, Any]], path: Path, dataset: VisionDataset, places: Mapping[Any, int]) -> None:
    """Check that the run-length codes have the sizes of their images, and as many pixels."""
    numbers = [number for number, row in enumerate(rows) if "segmentation" in row]
    sizes = np.zeros((len(numbers), 2), np.int64)
    for place, number in enumerate(numbers):
        index, code = places[rows[number]["image_id"]], rows[number]["segmentation"]
        sizes[place] = size = list(dataset.image_size(index))
        if code.get("size") != size:
            raise DataError(
                f"{path}, entry {number + 1}: the mask has the size {code.get('size')!r:.40}, but its image "
                f"{image_name(dataset, index, None)} {size} (height, width)\nwrite masks in the size of the image"
            )
        if not isinstance(code.get("counts"), str) or not code["counts"].isascii():
            advice = "compress them with pycocotools.mask.frPyObjects"
            raise DataError(f"{path}, entry {number + 1}: the counts of the mask must be text: {advice}")
    invalid = find_invalid_codes([rows[number]["segmentation"]["counts"].encode() for number in numbers], sizes.prod(1))
    if invalid.any():
        place = int(invalid.argmax())
        pixels = int(sizes[place].prod())
        raise DataError(f"{path}, entry {numbers[place] + 1}: the mask is no run-length code of {pixels} pixels")


def _report_repeated(rows: list[dict[str, Any]], path: Path) -> None:
    """Warn of rows that are equal to an earlier one, since only the first of them can find an object."""
    keys = ("image_id", "category_id", "score", "bbox", "segmentation")
    # Hashes, since the texts of masks would take as much memory as the file.
    repeated = len(rows) - len({hash(json.dumps([row.get(key) for key in keys], sort_keys=True)) for row in rows})
    if repeated:
        text = "%s: %d of %d predictions repeat an earlier one, and count as false positives, as in pycocotools"
        logger.warning(text, path, repeated, len(rows))
