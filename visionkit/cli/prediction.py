"""Prediction on image files, for `visionkit predict`."""

import logging
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

from visionkit.cli.logs import show_progress_messages
from visionkit.cli.pre_labels import PreLabels
from visionkit.cli.prediction_files import PredictionFiles
from visionkit.data.export.base import ExportClasses
from visionkit.data.io.atomic_folder import check_new
from visionkit.data.io.list_images import find_images
from visionkit.errors import ConfigError, DataError
from visionkit.pipelines import load
from visionkit.pipelines.base import Pipeline
from visionkit.pipelines.results import DetectionResult, Result

logger = logging.getLogger("visionkit")


def predict(
    checkpoint: str,
    paths: list[str],
    *,
    output: str | None = None,
    score_threshold: float | None = None,
    format: str | None = None,
    with_scores: bool = False,
) -> int:
    """Predict on files and folders, and write drawn images and predictions.json; see `PredictionFiles`.

    Args:
        checkpoint: path of the checkpoint.
        paths: image files and folders.
        output: folder for the results; None uses `predictions`.
        score_threshold: smallest score of predictions that are drawn and listed (for segmentation, share of the image's
            pixels); None uses that of the checkpoint, of a detector that of each class.
        format: format for annotation tools in which detections are written, too; None for none. See `PreLabels`.
        with_scores: whether lines of the format yolo end with the score.

    Returns:
        0, or 1 if images cannot be read. They are reported and skipped.
    """
    show_progress_messages()
    pipeline = load(checkpoint)
    threshold = pipeline.display_threshold if score_threshold is None else score_threshold
    images = list(dict.fromkeys(find_images([Path(path) for path in paths])))
    if np.min(threshold) < pipeline.min_score:
        text = "the model returns only predictions with a score above %g: model.nms.score_threshold of its recipe"
        logger.warning(text, pipeline.min_score)
    folder = Path(output or "predictions")
    pre_labels = _pre_labels(pipeline, folder, format, with_scores)
    predictions, counted, skipped = 0, Result.counted, 0
    with PredictionFiles(folder, images) as files, pre_labels or nullcontext():
        for path in track(images, description="predict"):
            try:
                image = pipeline.read_image(path)
                result = pipeline.predict(image)[0].filter(threshold)
            except DataError as error:
                logger.warning("skipped: %s", error)
                skipped += 1
                continue
            files.write(path, image, result)
            if pre_labels is not None:
                assert isinstance(result, DetectionResult)
                pre_labels.write(path, image, result)
            predictions, counted = predictions + len(result), result.counted
    least = f"{threshold:g}" if isinstance(threshold, int | float) else "the threshold of their class"
    text = f"{len(files.rows)} images, {predictions} {counted} of at least {least}: {files.folder}"
    Console().print(text, soft_wrap=True, markup=False)
    if format is not None:
        Console().print(f"in the format {format}: {folder / format}", soft_wrap=True, markup=False)
    if skipped:
        Console().print(f"{skipped} of {len(images)} images were skipped, see above", markup=False)
    return 1 if skipped else 0


def _pre_labels(pipeline: Pipeline[Any, Any], folder: Path, format: str | None, with_scores: bool) -> PreLabels | None:
    """Return the dataset of detections to write; None if there is no format.

    Raises:
        ConfigError: the checkpoint is not that of a detector.
        WriteError: the folder of the format exists already, and is not empty.
    """
    if format is None:
        return None
    if pipeline.task != "detection":
        raise ConfigError(f"--format {format} is for detectors, and this checkpoint is one of {pipeline.task}")
    check_new(folder / format)
    classes = ExportClasses(pipeline.class_names, pipeline.category_ids)
    return PreLabels(folder / format, format, classes, with_scores)
