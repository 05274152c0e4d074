"""A sequence of Python values in one buffer."""

import pickle
from collections.abc import Iterable, Sequence
from typing import Generic, TypeVar, overload

import numpy as np

T = TypeVar("T")


class PackedSequence(Sequence[T], Generic[T]):
    """A read-only sequence of pickled Python values in one buffer.

    Loader processes share the memory of the process that they were forked from. A list of a million objects would
    be copied page by page into every worker, because Python counts references inside the objects; an array is not
    copied.

    Args:
        values: any picklable values.

    Example:
        >>> from visionkit.data.datasets.packed_sequence import PackedSequence
        >>> names = PackedSequence(["a.jpg", "b.jpg"])
        >>> len(names), names[1]
        (2, 'b.jpg')
    """

    def __init__(self, values: Iterable[T]) -> None:
        pieces = [pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL) for value in values]
        self._ends = np.cumsum([len(piece) for piece in pieces], dtype=np.int64)
        self._bytes = np.frombuffer(b"".join(pieces), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self._ends)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        start = self._ends[index - 1] if index else 0
        # The bytes were pickled above in this process, so unpickling them is safe.
        value: T = pickle.loads(self._bytes[start : self._ends[index]].tobytes())
        return value
