"""What a task's prediction means for one image: boxes with names, classes with probabilities, or a class a pixel."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from visionkit.ops.palette import class_color
from visionkit.registry import Registry
from visionkit.structures import Prediction, Rle

Colors = Sequence[Sequence[int]]
"""RGB of each of the K classes, 0..255."""


class Result(Protocol):
    """What was predicted for one image.

    Attributes:
        counted: what `len` counts, and what a threshold is held against, in words.
    """

    counted: ClassVar[str] = "predictions with a score"

    def above(self, threshold: float) -> "Result":
        """Only what is at least this sure, or this large."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        ...

    def images(self) -> dict[str, Image.Image]:
        """What of it is an image in itself, by kind; `predict` writes each into a folder of that name."""
        return {}

    def __len__(self) -> int: ...


result_types: Registry[Callable[..., Result]] = Registry("task")
"""For each task, what makes an outcome: called as `entry(source, prediction, class_names, class_colors)`."""


@dataclass
class DetectionResult(Result):
    """What was found in one image, in its own pixels; M boxes, the surest first.

    Attributes:
        source: the image's path, or None where an array was given.
        boxes: float32 [M, 4], xyxy.
        scores: float32 [M] in 0..1.
        labels: int64 [M], 0..K-1.
        names: class name of each box.
        masks: COCO run-length code of each object's pixels, where the network gives masks.
    """

    source: Path | None
    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: list[str]
    masks: list[Rle] | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def above(self, threshold: float) -> "DetectionResult":
        """Only the boxes whose score is at least `threshold`."""
        kept = self.scores >= threshold
        names = list(compress(self.names, kept))
        masks = None if self.masks is None else list(compress(self.masks, kept))
        return DetectionResult(self.source, self.boxes[kept], self.scores[kept], self.labels[kept], names, masks)

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        rows = zip(self.boxes.tolist(), self.scores.tolist(), self.names, strict=True)
        found: list[dict[str, Any]] = [{"box": box, "score": score, "name": name} for box, score, name in rows]
        for row, mask in zip(found, self.masks or [], strict=False):
            row["mask"] = {"size": list(mask["size"]), "counts": mask["counts"].decode()}
        return {"image": str(self.source), "detections": found}


@dataclass
class ClassificationResult(Result):
    """What one image shows; the surest class first.

    Attributes:
        source: the image's path, or None where an array was given.
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

    def above(self, threshold: float) -> "ClassificationResult":
        """Only the classes whose score is at least `threshold`."""
        kept = int((self.scores >= threshold).sum())
        return ClassificationResult(self.source, self.scores[:kept], self.labels[:kept], self.names[:kept])

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        rows = zip(self.scores.tolist(), self.names, strict=True)
        return {"image": str(self.source), "classes": [{"score": score, "name": name} for score, name in rows]}


@dataclass
class SegmentationResult(Result):
    """The class of each pixel of an image; the largest class first.

    Attributes:
        source: the image's path, or None where an array was given.
        mask: uint8 [H, W], 0..K-1.
        shares: float32 [M] in 0..1, share of the pixels of each class that there is, falling.
        labels: int64 [M], these classes.
        names: class name of each.
        colors: RGB of all K classes.
    """

    counted: ClassVar[str] = "classes with a share of the pixels"

    source: Path | None
    mask: NDArray[np.uint8]
    shares: NDArray[np.float32]
    labels: NDArray[np.int64]
    names: list[str]
    colors: Colors

    def __len__(self) -> int:
        return len(self.labels)

    def above(self, threshold: float) -> "SegmentationResult":
        """Only the classes whose share is at least `threshold`; the mask stays as it is."""
        kept = int((self.shares >= threshold).sum())
        return replace(self, shares=self.shares[:kept], labels=self.labels[:kept], names=self.names[:kept])

    def to_dict(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        shares = dict(zip(self.names, self.shares.tolist(), strict=True))
        return {"image": str(self.source), "shares": shares}

    def images(self) -> dict[str, Image.Image]:
        """The mask with the classes as palette indices."""
        indexed = Image.fromarray(self.mask).convert("L")
        indexed.putpalette(np.asarray(self.colors, np.uint8).tobytes())
        return {"masks": indexed}


@result_types.register("detection")
def _detections(
    source: Path | None, prediction: Prediction, class_names: Sequence[str], class_colors: Colors | None = None
) -> DetectionResult:
    boxes, scores, labels = (prediction[key].cpu().numpy() for key in ("boxes", "scores", "labels"))
    names = [class_names[label] for label in labels]
    return DetectionResult(source, boxes, scores, labels, names, prediction.get("masks"))


@result_types.register("classification")
def _classes(
    source: Path | None, prediction: Tensor, class_names: Sequence[str], class_colors: Colors | None = None
) -> ClassificationResult:
    scores, labels = (values.cpu().numpy() for values in prediction.float().sort(descending=True, stable=True))
    return ClassificationResult(source, scores, labels, [class_names[label] for label in labels])


@result_types.register("segmentation")
def _segments(
    source: Path | None, prediction: Tensor, class_names: Sequence[str], class_colors: Colors | None = None
) -> SegmentationResult:
    counts = prediction.flatten().bincount(minlength=len(class_names)).cpu()
    shares, labels = (counts / counts.sum()).sort(descending=True, stable=True)
    there = int((counts > 0).sum())
    return SegmentationResult(
        source,
        prediction.cpu().numpy(),
        shares[:there].numpy(),
        labels[:there].numpy(),
        [class_names[label] for label in labels[:there]],
        class_colors or [class_color(label) for label in range(len(class_names))],
    )
