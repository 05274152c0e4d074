"""Several datasets read as one."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from visionkit.data.datasets.base import VisionDataset
from visionkit.data.datasets.class_checks import check_same_classes
from visionkit.data.datasets.delegating import DelegatingDataset
from visionkit.errors import DataError
from visionkit.text import format_list


class ConcatenatedDataset(DelegatingDataset):
    """Several datasets of the same classes read as one, such as VOC 2007 + 2012.

    Two parts may have the same image ids.

    Args:
        parts: the datasets, in order.

    Raises:
        DataError: the parts have different classes.

    Example:
        >>> from visionkit.data.datasets.concatenated import ConcatenatedDataset
        >>> from visionkit.data.datasets.shapes import Shapes
        >>> parts = [Shapes(count=3, size=64, split=name) for name in ("a", "b")]
        >>> len(ConcatenatedDataset(parts))
        6
    """

    def __init__(self, parts: Sequence[VisionDataset]) -> None:
        check_same_classes({f"part {number}": part.class_names for number, part in enumerate(parts, start=1)})
        super().__init__(parts[0], dict(sum((Counter(part.report) for part in parts), Counter())))
        self.parts = list(parts)
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def locate(self, index: int) -> tuple[VisionDataset, int]:
        """See `DelegatingDataset`."""
        part = int(np.searchsorted(self._ends, index, side="right"))
        return self.parts[part], index - int(self._ends[part]) + len(self.parts[part])


def check_unique_image_ids(dataset: VisionDataset, split: str) -> None:
    """Check that no two images have the same id: predictions are stored by id, and one of them would be lost.

    Args:
        dataset: images that will be evaluated.
        split: name of the split, for the message.

    Raises:
        DataError: two images have the same id.
    """
    counts = Counter(dataset.image_id(index) for index in range(len(dataset)))
    repeated = [str(image_id) for image_id, count in counts.items() if count > 1]
    if repeated:
        raise DataError(
            f"{split}: {len(repeated)} image ids occur more than once: {format_list(repeated)}\n"
            f"predictions are stored by image id; evaluate the parts of data.splits.{split} one by one, "
            "or rename images"
        )
