"""Some of the images of a dataset."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import VisionDataset
from visionkit.data.datasets.delegating import DelegatingDataset


class SubsetDataset(DelegatingDataset):
    """Some of the images of a dataset, in a given order.

    Args:
        dataset: the whole dataset.
        indices: indices of the images in `dataset`; an index may repeat.

    Example:
        >>> from visionkit.data.datasets.shapes import Shapes
        >>> from visionkit.data.datasets.subset import SubsetDataset
        >>> subset = SubsetDataset(Shapes(count=10, size=64), [7, 2])
        >>> len(subset), subset.image_id(0)
        (2, 7)
    """

    def __init__(self, dataset: VisionDataset, indices: NDArray[np.int64] | Sequence[int]) -> None:
        super().__init__(dataset, dataset.report)
        self.dataset, self.indices = dataset, np.asarray(indices, np.int64)

    def __len__(self) -> int:
        return len(self.indices)

    def locate(self, index: int) -> tuple[VisionDataset, int]:
        """See `DelegatingDataset`."""
        return self.dataset, int(self.indices[index])
