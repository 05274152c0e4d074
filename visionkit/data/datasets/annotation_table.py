"""The objects of all images of a dataset in flat arrays."""

import numpy as np
from numpy.typing import NDArray

from visionkit.structures import Annotation


class AnnotationTable:
    """The objects of all images of a dataset in flat arrays, sorted by image.

    Flat arrays are shared by loader processes, see `PackedSequence`.

    Args:
        image_index: int64 [N], index of each object's image.
        num_images: number of images.
        boxes, labels, crowd, difficult, area: one row per object, see `Annotation`.

    Attributes:
        order: int64 [N], position of each sorted row in the arguments.

    Example:
        >>> import numpy as np
        >>> from visionkit.data.datasets.annotation_table import AnnotationTable
        >>> boxes = np.array([[0, 0, 4, 4], [1, 1, 3, 3]], np.float32)
        >>> flags = np.zeros(2, bool)
        >>> table = AnnotationTable(np.array([1, 0]), 2, boxes, np.array([5, 6]), flags, flags, np.float32([16, 4]))
        >>> table.annotation(0).labels.tolist()
        [6]
    """

    def __init__(
        self,
        image_index: NDArray[np.int64],
        num_images: int,
        boxes: NDArray[np.float32],
        labels: NDArray[np.int64],
        crowd: NDArray[np.bool_],
        difficult: NDArray[np.bool_],
        area: NDArray[np.float32],
    ) -> None:
        order = np.argsort(image_index, kind="stable")
        self.order = order
        self._starts = np.searchsorted(image_index[order], np.arange(num_images + 1))
        self._columns = [column[order] for column in (boxes, labels, crowd, difficult, area)]

    def __len__(self) -> int:
        return len(self.order)

    def rows(self, image: int) -> slice:
        """Return the sorted rows that hold the objects of an image."""
        return slice(int(self._starts[image]), int(self._starts[image + 1]))

    def annotation(self, image: int) -> Annotation:
        """Return the objects of an image as copies, without masks."""
        boxes, labels, crowd, difficult, area = (column[self.rows(image)].copy() for column in self._columns)
        return Annotation(boxes, labels, crowd, difficult, area)
