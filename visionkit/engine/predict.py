"""Prediction on pictures of any kind, from a checkpoint alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from visionkit.data.datamodule import to_tensor
from visionkit.data.pictures import find_pictures, read_picture
from visionkit.engine.checkpoint import load_task
from visionkit.errors import DataError
from visionkit.tasks import Detection

Source = str | Path | NDArray[np.uint8]


@dataclass
class Detections:
    """What was found in one picture, in its own pixels; M boxes, the surest first.

    Attributes:
        source: the picture's path, or None where an array was given.
        boxes: float32 [M, 4], xyxy.
        scores: float32 [M] in 0..1.
        labels: int64 [M], 0..K-1.
        names: class name of each box.
    """

    source: Path | None
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: list[str]

    def __len__(self) -> int:
        return len(self.labels)

    def above(self, threshold: float) -> "Detections":
        """Only the boxes whose score is at least `threshold`."""
        kept = self.scores >= threshold
        names = [name for name, keep in zip(self.names, kept, strict=True) if keep]
        return Detections(self.source, self.boxes[kept], self.scores[kept], self.labels[kept], names)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        rows = zip(self.boxes.tolist(), self.scores.tolist(), self.names, strict=True)
        found = [{"box": box, "score": score, "name": name} for box, score, name in rows]
        return {"picture": str(self.source), "detections": found}


class Predictor:
    """A trained detection task, ready for pictures.

    Args:
        task: the task; it is put into evaluation mode.
        device: where to run, None for a GPU where there is one.
    """

    def __init__(self, task: Detection, device: str | None = None) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.task = task.eval().to(self.device)

    @property
    def class_names(self) -> list[str]:
        """The K class names in label order."""
        return self.task.class_names

    def predict(self, sources: Source | Iterable[Source], batch_size: int = 1) -> list[Detections]:
        """Detect objects in pictures.

        Args:
            sources: a picture file, a folder of them, a uint8 [H, W, 3] RGB array, or a list of these.
            batch_size: pictures that go through the network at once.

        Returns:
            One entry a picture, boxes in the picture's own pixels, all scores (see `Detections.above`).

        Raises:
            DataError: a path is missing or no picture, or an array has another form.
        """
        return [found for batch in batches(expand(sources), batch_size) for found in self._predict_batch(batch)]

    @torch.inference_mode()
    def _predict_batch(self, sources: Sequence[Source]) -> list[Detections]:
        pictures = [to_tensor(_picture(source)).to(self.device) for source in sources]
        predictions = self.task(pictures)
        return [self._name(source, found) for source, found in zip(sources, predictions, strict=True)]

    def _name(self, source: Source, found: dict[str, Tensor]) -> Detections:
        boxes, scores, labels = (found[key].cpu().numpy() for key in ("boxes", "scores", "labels"))
        path = None if isinstance(source, np.ndarray) else Path(source)
        return Detections(path, boxes, scores, labels, [self.class_names[label] for label in labels])


def load(path: str | Path, device: str | None = None) -> Predictor:
    """Rebuild a trained network from its checkpoint alone.

    Raises:
        CheckpointError: the file is missing, broken or foreign.
    """
    task = load_task(path)
    assert isinstance(task, Detection)
    return Predictor(task, device)


def expand(sources: Source | Iterable[Source]) -> list[Source]:
    """Pictures one by one: folders are replaced by the pictures in them."""
    listed: Iterable[Source] = [sources] if isinstance(sources, (str, Path, np.ndarray)) else sources
    found: list[Source] = []
    for source in listed:
        found += [source] if isinstance(source, np.ndarray) else find_pictures([Path(source)])
    return found


def batches(sources: list[Source], size: int) -> Iterable[list[Source]]:
    """Consecutive slices of at most `size`."""
    return (sources[start : start + size] for start in range(0, len(sources), size))


def _picture(source: Source) -> NDArray[np.uint8]:
    if not isinstance(source, np.ndarray):
        return read_picture(Path(source))
    if source.dtype != np.uint8 or source.ndim != 3 or source.shape[2] != 3:
        raise DataError(f"a picture array must be uint8 [H, W, 3] RGB, not {source.dtype} {list(source.shape)}")
    return source
