"""Connected sets of items, from the pairs that belong together."""

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.int64]


def connect(pairs: Indices, count: int) -> Indices:
    """Return the index of the connected set of each of `count` items, numbered by their first items.

    Args:
        pairs: int64 [P, 2], items that belong together.
        count: number of items.

    Example:
        >>> import numpy as np
        >>> from visionkit.data.stats.connected import connect
        >>> connect(np.array([[3, 1], [1, 4]]), 5).tolist()
        [0, 1, 2, 1, 1]
    """
    lowest, before = np.arange(count), None
    while before is None or (lowest != before).any():
        before = lowest.copy()
        for first, second in (pairs.T, pairs.T[::-1]):
            np.minimum.at(lowest, first, before[second])
        lowest = lowest[lowest]
    return np.unique(lowest, return_inverse=True)[1].astype(np.int64)


def larger_sets(sets: Indices) -> list[list[int]]:
    """Return the items of each set that has at least two.

    Args:
        sets: int64 [N], index of the set of each item, see `connect`.

    Example:
        >>> import numpy as np
        >>> from visionkit.data.stats.connected import larger_sets
        >>> larger_sets(np.array([0, 1, 2, 1, 0]))
        [[0, 4], [1, 3]]
    """
    order = np.argsort(sets, kind="stable")
    starts = np.flatnonzero(np.diff(sets[order], prepend=-1))
    return [part.tolist() for part in np.split(order, starts[1:]) if len(part) > 1]
