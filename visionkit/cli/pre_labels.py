"""Detections as a dataset that annotation tools open, for `visionkit predict --format`."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
from pycocotools import mask as rle
from typing_extensions import Self

from visionkit.data.export.base import ExportClasses, ExportImage, writers
from visionkit.data.export.convert import place_image
from visionkit.data.export.plan import NameGiver
from visionkit.data.io.atomic_folder import atomic_folder
from visionkit.data.io.images import ImageArray
from visionkit.pipelines.results import DetectionResult
from visionkit.structures import Annotation

SPLIT = "train"
"""Split of the images: corrected, they are training data."""


class PreLabels:
    """Dataset of detections, and of copies of their images. It is a context manager.

    The folder appears when all images are written.

    Args:
        folder: the folder, which must not exist or be empty.
        format: name of the format.
        classes: the classes of the model.
        with_scores: whether lines of `yolo` end with the score. The other formats always have scores.

    Raises:
        WriteError: the folder is not new, or cannot be written.
    """

    def __init__(self, folder: Path, format: str, classes: ExportClasses, with_scores: bool = False) -> None:
        self._folder, self._classes, self._with_scores = folder, classes, with_scores
        self._writer_class = writers.get(format)
        self._names, self._count, self._stack = NameGiver(), 0, ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            folder = stack.enter_context(atomic_folder(self._folder))
            writer = self._writer_class(folder, self._classes, self._with_scores)
            self._writer = stack.enter_context(writer)
            (folder / writer.image_folder(SPLIT)).mkdir(parents=True)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    def write(self, path: Path, image: ImageArray, result: DetectionResult) -> None:
        """Write the detections of an image, and copy its file."""
        self._count += 1
        name = self._names.give(path.name)
        place_image(path, lambda: image, self._writer.folder / self._writer.image_folder(SPLIT) / name, link=False)
        self._writer.write(
            ExportImage(
                split=SPLIT,
                number=self._count,
                name=name,
                size=(image.shape[0], image.shape[1]),
                annotation=_annotation(result),
                scores=result.scores,
            )
        )


def _annotation(result: DetectionResult) -> Annotation:
    """Return detections as objects."""
    count, sides = len(result), result.boxes[:, 2:] - result.boxes[:, :2]
    masks = result.masks
    areas = sides.prod(axis=1) if masks is None else np.array([rle.area(mask) for mask in masks], np.float32)
    flags = np.zeros(count, bool)
    return Annotation(result.boxes, result.labels, flags, flags, areas.astype(np.float32), masks)
