"""A data set's annotations as flat arrays.

Loader processes share the memory of the process they were forked from until Python counts a reference in it:
a list of a million dicts is copied page by page into every worker, an array is not.
"""

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visionkit.data.sample import Annotation


class PackedObjects(Sequence[Any]):
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


class AnnotationColumns:
    """Objects of all pictures in arrays, sorted by picture.

    Args:
        owner: int64 [N], index of each object's picture.
        pictures: number of pictures.
        boxes, labels, crowd, difficult, area: of each object, see `Annotation`.
    """

    def __init__(
        self,
        owner: NDArray[np.int64],
        pictures: int,
        boxes: NDArray[np.float32],
        labels: NDArray[np.int64],
        crowd: NDArray[np.bool_],
        difficult: NDArray[np.bool_],
        area: NDArray[np.float32],
    ) -> None:
        order = np.argsort(owner, kind="stable")
        self.order = order
        self.starts = np.searchsorted(owner[order], np.arange(pictures + 1))
        self._columns = [column[order] for column in (boxes, labels, crowd, difficult, area)]

    def __len__(self) -> int:
        return len(self.order)

    def rows(self, picture: int) -> slice:
        """Where the objects of a picture lie in the sorted columns."""
        return slice(int(self.starts[picture]), int(self.starts[picture + 1]))

    def annotation(self, picture: int) -> Annotation:
        """The objects of a picture, as copies, without masks."""
        boxes, labels, crowd, difficult, area = (column[self.rows(picture)].copy() for column in self._columns)
        return Annotation(boxes, labels, crowd, difficult, area)
