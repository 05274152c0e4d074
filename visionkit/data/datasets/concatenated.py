"""Several data sets read as one."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import VisionDataset
from visionkit.data.datasets.class_names import refuse_different_classes
from visionkit.errors import DataError
from visionkit.structures import Annotation, Sample
from visionkit.text import format_list


class ConcatenatedDataset:
    """Several readers of the same classes read as one set (VOC 2007 + 2012)."""

    def __init__(self, parts: Sequence[VisionDataset]) -> None:
        refuse_different_classes({f"part {number}": part.class_names for number, part in enumerate(parts, start=1)})
        self.parts = list(parts)
        self.class_names, self.category_ids = parts[0].class_names, parts[0].category_ids
        self.class_colors = parts[0].class_colors
        self.report: dict[str, int] = {}
        for part in parts:
            for reason, count in part.report.items():
                self.report[reason] = self.report.get(reason, 0) + count
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def _locate(self, index: int) -> tuple[VisionDataset, int]:
        part = int(np.searchsorted(self._ends, index, side="right"))
        return self.parts[part], index - int(self._ends[part]) + len(self.parts[part])

    def __getitem__(self, index: int) -> Sample:
        part, inner = self._locate(index)
        return part[inner]

    def image_id(self, index: int) -> int | str:
        """See `VisionDataset`; parts may have the same ones."""
        part, inner = self._locate(index)
        return part.image_id(inner)

    def annotation(self, index: int) -> Annotation:
        """See `VisionDataset`."""
        part, inner = self._locate(index)
        return part.annotation(inner)

    def image_size(self, index: int) -> tuple[int, int]:
        """See `VisionDataset`."""
        part, inner = self._locate(index)
        return part.image_size(inner)

    def label(self, index: int) -> int | None:
        """See `VisionDataset`."""
        part, inner = self._locate(index)
        return part.label(inner)

    def tags(self, index: int) -> NDArray[np.int64] | None:
        """See `VisionDataset`."""
        part, inner = self._locate(index)
        return part.tags(inner)

    def has_semantic(self, index: int) -> bool:
        """See `VisionDataset`."""
        part, inner = self._locate(index)
        return part.has_semantic(inner)

    def semantic(self, index: int) -> NDArray[np.uint8] | None:
        """See `VisionDataset`."""
        part, inner = self._locate(index)
        return part.semantic(inner)


def refuse_repeated_ids(reader: VisionDataset, split: str) -> None:
    """Raise DataError where images to be scored share an id: predictions are kept by it, and one would be lost."""
    counts = Counter(reader.image_id(index) for index in range(len(reader)))
    repeated = [str(image_id) for image_id, count in counts.items() if count > 1]
    if repeated:
        raise DataError(
            f"{split}: {len(repeated)} image ids stand for several images each: {format_list(repeated)}\n"
            f"predictions are told apart by them; score the parts of data.splits.{split} one by one, or rename images"
        )
