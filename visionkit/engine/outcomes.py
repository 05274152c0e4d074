"""What a task's prediction means for one picture: boxes with names, or classes with probabilities."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from visionkit.registry import Registry


class Outcome(Protocol):
    """What was predicted for one picture."""

    def above(self, threshold: float) -> "Outcome":
        """Only what is at least this sure."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        ...

    def __len__(self) -> int: ...


outcomes: Registry[Callable[..., Outcome]] = Registry("task")
"""For each task, what makes an outcome: called as `entry(source, prediction, class_names)`."""


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


@dataclass
class Classes:
    """What one picture shows; the surest class first.

    Attributes:
        source: the picture's path, or None where an array was given.
        scores: float32 [M], probabilities falling; M is K as long as nothing was left out.
        labels: int64 [M], 0..K-1.
        names: class name of each.
    """

    source: Path | None
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: list[str]

    def __len__(self) -> int:
        return len(self.labels)

    def above(self, threshold: float) -> "Classes":
        """Only the classes whose score is at least `threshold`."""
        kept = int((self.scores >= threshold).sum())
        return Classes(self.source, self.scores[:kept], self.labels[:kept], self.names[:kept])

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        rows = zip(self.scores.tolist(), self.names, strict=True)
        return {"picture": str(self.source), "classes": [{"score": score, "name": name} for score, name in rows]}


@outcomes.register("detection")
def _detections(source: Path | None, prediction: dict[str, Tensor], class_names: Sequence[str]) -> Detections:
    boxes, scores, labels = (prediction[key].cpu().numpy() for key in ("boxes", "scores", "labels"))
    return Detections(source, boxes, scores, labels, [class_names[label] for label in labels])


@outcomes.register("classification")
def _classes(source: Path | None, prediction: Tensor, class_names: Sequence[str]) -> Classes:
    scores, labels = (values.cpu().numpy() for values in prediction.float().sort(descending=True, stable=True))
    return Classes(source, scores, labels, [class_names[label] for label in labels])
