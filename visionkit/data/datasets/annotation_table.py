"""A data set's annotations as flat arrays.

Loader processes share the memory of the process they were forked from until Python counts a reference in it:
a list of a million dicts is copied page by page into every worker, an array is not.
"""

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visionkit.structures import Annotation


class PackedSequence(Sequence[Any]):
    """A sequence of Python values in one buffer of bytes, unpacked one at a time."""

    def __init__(self, values: Sequence[Any]) -> None:
        pieces = [pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL) for value in values]
        self._ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
        self._bytes = np.frombuffer(b"".join(pieces), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = self._ends[index - 1] if index else 0
        # Our own bytes, made above in this process: nothing foreign is unpickled.
        return pickle.loads(self._bytes[start : self._ends[index]].tobytes())


class AnnotationTable:
    """Objects of all images in arrays, sorted by image.

    Args:
        owner: int64 [N], index of each object's image.
        images: number of images.
        boxes, labels, crowd, difficult, area: of each object, see `Annotation`.
    """

    def __init__(
        self,
        owner: NDArray[np.int64],
        images: int,
        boxes: NDArray[np.float32],
        labels: NDArray[np.int64],
        crowd: NDArray[np.bool_],
        difficult: NDArray[np.bool_],
        area: NDArray[np.float32],
    ) -> None:
        order = np.argsort(owner, kind="stable")
        self.order = order
        self.starts = np.searchsorted(owner[order], np.arange(images + 1))
        self._columns = [column[order] for column in (boxes, labels, crowd, difficult, area)]

    def __len__(self) -> int:
        return len(self.order)

    def rows(self, image: int) -> slice:
        """Where the objects of an image lie in the sorted columns."""
        return slice(int(self.starts[image]), int(self.starts[image + 1]))

    def annotation(self, image: int) -> Annotation:
        """The objects of an image, as copies, without masks."""
        boxes, labels, crowd, difficult, area = (column[self.rows(image)].copy() for column in self._columns)
        return Annotation(boxes, labels, crowd, difficult, area)
