"""Prediction on image files, for `visionkit predict`."""

import json
import logging
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.progress import track

from visionkit.cli.logs import show_progress_messages
from visionkit.data.io.images import read_image
from visionkit.data.io.list_images import find_images
from visionkit.errors import VisionkitError
from visionkit.pipelines import load
from visionkit.pipelines.results import Result
from visionkit.report.draw import draw

logger = logging.getLogger("visionkit")


def predict(
    checkpoint: str, paths: list[str], *, output: str | None = None, score_threshold: float | None = None
) -> int:
    """Predict on files and folders, and write drawn images and predictions.json.

    Args:
        checkpoint: path of the checkpoint.
        paths: image files and folders.
        output: folder for the results; None uses `predictions`.
        score_threshold: smallest score of predictions that are drawn and listed (for segmentation, share of the image's
            pixels); None uses that of the checkpoint.
    """
    show_progress_messages()
    pipeline = load(checkpoint)
    threshold = pipeline.display_threshold if score_threshold is None else score_threshold
    folder = _writable(Path(output or "predictions"))
    images = find_images([Path(path) for path in paths])
    names = _result_names(images)
    if threshold < pipeline.min_score:
        text = "the model returns only predictions with a score above %g: model.nms.score_threshold of its recipe"
        logger.warning(text, pipeline.min_score)
    rows, predictions = [], 0
    for path, name in track(list(zip(images, names, strict=True)), description="predict"):
        image = read_image(path)
        result = pipeline.predict(image)[0].filter(threshold)
        Image.fromarray(draw(result, image)).save(folder / name)
        rows.append({**result.to_dict(), "image": str(path), "drawn": name, **_write_images(result, folder, name)})
        predictions += len(result)
    (folder / "predictions.json").write_text(json.dumps(rows, indent=1))
    Console().print(
        f"{len(rows)} images, {predictions} {result.counted} of at least {threshold:g}: {folder}",
        soft_wrap=True,
    )
    return 0


def _write_images(result: Result, folder: Path, name: str) -> dict[str, str]:
    """Write the images of a result, such as label maps, and return their paths relative to `folder` by kind."""
    images = result.images()
    for kind, image in images.items():
        (folder / kind).mkdir(exist_ok=True)
        image.save(folder / kind / name)
    return {kind: f"{kind}/{name}" for kind in images}


def _result_names(images: list[Path]) -> list[str]:
    """Return a file name for each drawn image. Equal names from different folders get a number."""
    names: list[str] = []
    for image in images:
        name, copy = f"{image.stem}.png", 1
        while name in names:
            copy += 1
            name = f"{image.stem}-{copy}.png"
        names.append(name)
    return names


def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "predictions.json").touch()
    except OSError as error:
        raise VisionkitError(f"the output folder {folder} cannot be written: {error.strerror}") from error
    return folder
