"""Prediction on image files, for `visionkit predict`."""

import logging
from pathlib import Path

from rich.console import Console
from rich.progress import track

from visionkit.cli.logs import show_progress_messages
from visionkit.cli.prediction_files import PredictionFiles
from visionkit.data.io.list_images import find_images
from visionkit.errors import DataError
from visionkit.pipelines import load
from visionkit.pipelines.results import Result

logger = logging.getLogger("visionkit")


def predict(
    checkpoint: str, paths: list[str], *, output: str | None = None, score_threshold: float | None = None
) -> int:
    """Predict on files and folders, and write drawn images and predictions.json; see `PredictionFiles`.

    Args:
        checkpoint: path of the checkpoint.
        paths: image files and folders.
        output: folder for the results; None uses `predictions`.
        score_threshold: smallest score of predictions that are drawn and listed (for segmentation, share of the image's
            pixels); None uses that of the checkpoint.

    Returns:
        0, or 1 if images cannot be read. They are reported and skipped.
    """
    show_progress_messages()
    pipeline = load(checkpoint)
    threshold = pipeline.display_threshold if score_threshold is None else score_threshold
    images = list(dict.fromkeys(find_images([Path(path) for path in paths])))
    if threshold < pipeline.min_score:
        text = "the model returns only predictions with a score above %g: model.nms.score_threshold of its recipe"
        logger.warning(text, pipeline.min_score)
    predictions, counted, skipped = 0, Result.counted, 0
    with PredictionFiles(Path(output or "predictions"), images) as files:
        for path in track(images, description="predict"):
            try:
                image = pipeline.read_image(path)
                result = pipeline.predict(image)[0].filter(threshold)
            except DataError as error:
                logger.warning("skipped: %s", error)
                skipped += 1
                continue
            files.write(path, image, result)
            predictions, counted = predictions + len(result), result.counted
    text = f"{len(files.rows)} images, {predictions} {counted} of at least {threshold:g}: {files.folder}"
    Console().print(text, soft_wrap=True, markup=False)
    if skipped:
        Console().print(f"{skipped} of {len(images)} images were skipped, see above", markup=False)
    return 1 if skipped else 0
