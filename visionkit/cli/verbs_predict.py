"""`visionkit predict`: what is in pictures of one's own."""

import json
import logging
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.progress import track

from visionkit.cli.logs import show_progress_messages
from visionkit.data.pictures import find_pictures, read_picture
from visionkit.engine.outcomes import Outcome
from visionkit.engine.predict import load
from visionkit.errors import VisionkitError
from visionkit.report.draw import draw

logger = logging.getLogger("visionkit")


def predict(
    checkpoint: str, paths: list[str], *, output: str | None = None, score_threshold: float | None = None
) -> int:
    """Predict on files and folders; write drawn pictures and predictions.json.

    Args:
        checkpoint: path of the checkpoint.
        paths: picture files and folders.
        output: folder for the results, by default `predictions`.
        score_threshold: from which score (of a class of pixels: share) a prediction is drawn and listed; by default
            the checkpoint's.
    """
    show_progress_messages()
    predictor = load(checkpoint)
    chosen = predictor.task.evaluation_options.display_threshold if score_threshold is None else score_threshold
    folder = _writable(Path(output or "predictions"))
    pictures = find_pictures([Path(path) for path in paths])
    names = _result_names(pictures)
    if chosen < predictor.task.least_score:
        told = "the network itself tells only what has a score above %g: model.score_threshold when it was trained"
        logger.warning(told, predictor.task.least_score)
    found, predictions = [], 0
    for path, name in track(list(zip(pictures, names, strict=True)), description="predict"):
        picture = read_picture(path)
        outcome = predictor.predict(picture)[0].above(chosen)
        Image.fromarray(draw(outcome, picture)).save(folder / name)
        found.append(
            {**outcome.to_dict(), "picture": str(path), "drawn": name, **_write_pictures(outcome, folder, name)}
        )
        predictions += len(outcome)
    (folder / "predictions.json").write_text(json.dumps(found, indent=1))
    Console().print(
        f"{len(found)} pictures, {predictions} {outcome.counted} of at least {chosen:g}: {folder}",
        soft_wrap=True,
    )
    return 0


def _write_pictures(outcome: Outcome, folder: Path, name: str) -> dict[str, str]:
    """Write what of an outcome is a picture in itself; the files by kind, relative to `folder`."""
    pictures = outcome.pictures()
    for kind, image in pictures.items():
        (folder / kind).mkdir(exist_ok=True)
        image.save(folder / kind / name)
    return {kind: f"{kind}/{name}" for kind in pictures}


def _result_names(pictures: list[Path]) -> list[str]:
    """A file name for each drawn picture; equal names from different folders get a number."""
    names: list[str] = []
    for picture in pictures:
        name, copy = f"{picture.stem}.png", 1
        while name in names:
            copy += 1
            name = f"{picture.stem}-{copy}.png"
        names.append(name)
    return names


def _writable(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "predictions.json").touch()
    except OSError as error:
        raise VisionkitError(f"the output folder {folder} cannot be written: {error.strerror}") from error
    return folder
