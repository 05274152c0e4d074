"""Prediction on images of any kind, from a checkpoint alone."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from visionkit.data.batch import to_tensor
from visionkit.data.io.images import find_images, read_image
from visionkit.engine.checkpoint import load_task
from visionkit.engine.prediction_results import Result, result_types
from visionkit.errors import DataError
from visionkit.tasks import Task

Source = str | Path | NDArray[np.uint8]


class Predictor:
    """A trained task, ready for images.

    Args:
        task: the task; it is put into evaluation mode.
        device: where to run, None for a GPU where there is one.
    """

    def __init__(self, task: Task, device: str | None = None) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.task = task.eval().to(self.device)

    @property
    def class_names(self) -> list[str]:
        """The K class names in label order."""
        return self.task.class_names

    def predict(self, sources: Source | Iterable[Source], batch_size: int = 1) -> list[Result]:
        """Say what is in images.

        Args:
            sources: an image file, a folder of them, a uint8 [H, W, 3] RGB array, or a list of these.
            batch_size: images that go through the network at once.

        Returns:
            One result per image: `DetectionResult`, `ClassificationResult` (all scores, see `above`) or
                `SegmentationResult`.

        Raises:
            DataError: a path is missing or no image, or an array has another form.
        """
        return [found for batch in batches(expand(sources), batch_size) for found in self._predict_batch(batch)]

    @torch.inference_mode()
    def _predict_batch(self, sources: Sequence[Source]) -> list[Result]:
        images = [to_tensor(_image(source)).to(self.device) for source in sources]
        predictions = self.task(images)
        return [self._result(source, found) for source, found in zip(sources, predictions, strict=True)]

    def _result(self, source: Source, prediction: Any) -> Result:
        path = None if isinstance(source, np.ndarray) else Path(source)
        return result_types.get(self.task.name)(path, prediction, self.class_names, self.task.class_colors)


def load(path: str | Path, device: str | None = None) -> Predictor:
    """Rebuild a trained network from its checkpoint alone.

    Raises:
        CheckpointError: the file is missing, broken or foreign.
    """
    return Predictor(load_task(path), device)


def expand(sources: Source | Iterable[Source]) -> list[Source]:
    """Images one by one: folders are replaced by the images in them."""
    listed: Iterable[Source] = [sources] if isinstance(sources, (str, Path, np.ndarray)) else sources
    found: list[Source] = []
    for source in listed:
        found += [source] if isinstance(source, np.ndarray) else find_images([Path(source)])
    return found


def batches(sources: list[Source], size: int) -> Iterable[list[Source]]:
    """Consecutive slices of at most `size`."""
    return (sources[start : start + size] for start in range(0, len(sources), size))


def _image(source: Source) -> NDArray[np.uint8]:
    if not isinstance(source, np.ndarray):
        return read_image(Path(source))
    if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
        raise DataError(f"an image array must be uint8 [H, W, 3] RGB, not {source.dtype} {list(source.shape)}")
    return source
