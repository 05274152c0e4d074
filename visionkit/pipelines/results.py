"""Results of one image: boxes with classes, classes with probabilities, or a class per pixel."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from typing_extensions import Self

from visionkit.errors import VisionkitError
from visionkit.structures import Rle

if TYPE_CHECKING:
    import pandas

Colors = Sequence[Sequence[int]]
"""RGB of each of the K classes, 0..255."""

MinScore = float | Sequence[float] | NDArray[np.float64]
"""Smallest score of predictions: one for all classes, or one for each of the K classes."""


def per_class(min_score: MinScore, classes: int) -> NDArray[np.float64]:
    """Return the smallest score of each class, float64 [K]."""
    return np.broadcast_to(np.asarray(min_score, np.float64), classes)


@dataclass
class Result(ABC):
    """Base class of the results of one image.

    Attributes:
        source: path of the image, or None for an array.
        class_names: the K class names in label order.
        labels: predicted classes, int64 [M], 0..K-1.
        counted: name of the items that `len` counts.
        columns: keys of `rows`.

    Example:
        >>> import numpy as np
        >>> import visionkit as vk
        >>> result = vk.ClassificationResult(None, ["cat", "dog"], np.array([1]), np.array([0.75], np.float32))
        >>> isinstance(result, vk.Result), result.names, result.rows()
        (True, ['dog'], [{'name': 'dog', 'score': 0.75}])
    """

    counted: ClassVar[str] = "predictions with a score"
    columns: ClassVar[tuple[str, ...]]

    source: Path | None
    class_names: list[str]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def _min_scores(self, min_score: MinScore) -> NDArray[np.float64]:
        """Return the smallest score of each prediction's class, float64 [M]."""
        return per_class(min_score, len(self.class_names))[self.labels]

    @property
    def names(self) -> list[str]:
        """Class name of each prediction."""
        return [self.class_names[label] for label in self.labels]

    @abstractmethod
    def filter(self, min_score: MinScore) -> Self:
        """Return the result with only the predictions whose score is at least `min_score`, or that of their class."""

    @abstractmethod
    def rows(self) -> list[dict[str, Any]]:
        """Return a dict of plain values for each prediction."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """Return the result as plain values, for JSON."""

    def images(self) -> dict[str, Image.Image]:
        """Return the images in the result by kind. `visionkit predict` writes each kind into a folder of that name."""
        return {}

    def to_pandas(self) -> "pandas.DataFrame":
        """Return a table with one row per prediction.

        Raises:
            VisionkitError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError as error:
            raise VisionkitError("to_pandas needs pandas: pip install pandas") from error
        rows = [{"image": _text(self.source), **row} for row in self.rows()]
        return pandas.DataFrame(rows, columns=["image", *self.columns])


@dataclass
class DetectionResult(Result):
    """Objects of one image in its own pixels: M boxes, by descending score.

    Attributes:
        boxes: float32 [M, 4], xyxy.
        scores: float32 [M], 0..1, in descending order.
        masks: RLE of each object, or None without masks.

    Example:
        >>> import numpy as np
        >>> from visionkit import DetectionResult
        >>> boxes = np.array([[0, 0, 8, 8], [2, 2, 4, 4]], np.float32)
        >>> result = DetectionResult(None, ["cat", "dog"], np.array([1, 0]), boxes, np.array([0.9, 0.2], np.float32))
        >>> result.names, result.filter(min_score=0.5).names
        (['dog', 'cat'], ['dog'])
    """

    columns: ClassVar[tuple[str, ...]] = ("name", "score", "x1", "y1", "x2", "y2")

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    masks: list[Rle] | None = None

    def filter(self, min_score: MinScore) -> Self:
        """See `Result.filter`."""
        kept = np.flatnonzero(self.scores >= self._min_scores(min_score))
        masks = None if self.masks is None else [self.masks[index] for index in kept]
        return replace(self, labels=self.labels[kept], boxes=self.boxes[kept], scores=self.scores[kept], masks=masks)

    def rows(self) -> list[dict[str, Any]]:
        """See `Result.rows`."""
        detections = zip(self.names, self.scores.tolist(), self.boxes.tolist(), strict=True)
        return [dict(zip(self.columns, (name, score, *box), strict=True)) for name, score, box in detections]

    def to_dict(self) -> dict[str, Any]:
        """See `Result.to_dict`."""
        columns = zip(self.boxes.tolist(), self.scores.tolist(), self.names, strict=True)
        detections: list[dict[str, Any]] = [{"box": box, "score": score, "name": name} for box, score, name in columns]
        for row, mask in zip(detections, self.masks or [], strict=False):
            row["mask"] = {"size": list(mask["size"]), "counts": mask["counts"].decode()}
        return {"image": _text(self.source), "detections": detections}


@dataclass
class ClassificationResult(Result):
    """Classes of one image, by descending probability.

    Attributes:
        scores: probabilities float32 [M], in descending order; M is K unless classes were filtered out.

    Example:
        >>> import numpy as np
        >>> from visionkit import ClassificationResult
        >>> result = ClassificationResult(None, ["cat", "dog"], np.array([1, 0]), np.array([0.7, 0.3], np.float32))
        >>> result.filter(min_score=0.5).names
        ['dog']
    """

    columns: ClassVar[tuple[str, ...]] = ("name", "score")

    scores: NDArray[np.float32]

    def filter(self, min_score: MinScore) -> Self:
        """See `Result.filter`."""
        kept = self.scores >= self._min_scores(min_score)
        return replace(self, labels=self.labels[kept], scores=self.scores[kept])

    def rows(self) -> list[dict[str, Any]]:
        """See `Result.rows`."""
        return [dict(zip(self.columns, row, strict=True)) for row in zip(self.names, self.scores.tolist(), strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """See `Result.to_dict`."""
        return {"image": _text(self.source), "classes": self.rows()}


@dataclass
class SegmentationResult(Result):
    """Class of each pixel of one image, and the classes in the image by descending share.

    Attributes:
        mask: uint8 [H, W], 0..K-1.
        shares: share of the pixels of each class in `labels`, float32 [M], in descending order.
        colors: RGB of all K classes.

    Example:
        >>> import numpy as np
        >>> from visionkit import SegmentationResult
        >>> mask, shares = np.array([[0, 1], [1, 1]], np.uint8), np.array([0.75, 0.25], np.float32)
        >>> result = SegmentationResult(None, ["sky", "road"], np.array([1, 0]), mask, shares, [[0, 0, 9], [9, 9, 9]])
        >>> result.to_dict()["shares"]
        {'road': 0.75, 'sky': 0.25}
    """

    counted: ClassVar[str] = "classes with a share of the pixels"
    columns: ClassVar[tuple[str, ...]] = ("name", "share")

    mask: NDArray[np.uint8]
    shares: NDArray[np.float32]
    colors: Colors

    def filter(self, min_score: MinScore) -> Self:
        """Return the result with only the classes of a share of at least `min_score`. The mask does not change."""
        kept = self.shares >= self._min_scores(min_score)
        return replace(self, labels=self.labels[kept], shares=self.shares[kept])

    def rows(self) -> list[dict[str, Any]]:
        """See `Result.rows`."""
        return [dict(zip(self.columns, row, strict=True)) for row in zip(self.names, self.shares.tolist(), strict=True)]

    def to_dict(self) -> dict[str, Any]:
        """See `Result.to_dict`."""
        return {"image": _text(self.source), "shares": dict(zip(self.names, self.shares.tolist(), strict=True))}

    def images(self) -> dict[str, Image.Image]:
        """Return the mask as an image whose palette indices are the class indices."""
        indexed = Image.fromarray(self.mask).convert("L")
        indexed.putpalette(np.asarray(self.colors, np.uint8).tobytes())
        return {"masks": indexed}


def _text(source: Path | None) -> str | None:
    return None if source is None else str(source)
