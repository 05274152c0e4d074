"""Several data sets read as one."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from visionkit.data.classes import refuse_different_classes
from visionkit.data.sample import Annotation, Sample, VisionDataset


class JoinedDataset:
    """Several readers of the same classes read as one set (VOC 2007 + 2012)."""

    def __init__(self, parts: Sequence[VisionDataset]) -> None:
        refuse_different_classes({f"part {number}": part.class_names for number, part in enumerate(parts, start=1)})
        self.parts = list(parts)
        self.class_names, self.category_ids = parts[0].class_names, parts[0].category_ids
        self.class_colours = parts[0].class_colours
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

    def annotation(self, index: int) -> Annotation:
        """See `VisionDataset`."""
        part, inner = self._locate(index)
        return part.annotation(inner)

    def picture_size(self, index: int) -> tuple[int, int]:
        """See `VisionDataset`."""
        part, inner = self._locate(index)
        return part.picture_size(inner)

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
