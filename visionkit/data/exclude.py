"""Images and objects that a data card leaves out of its splits."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import VisionDataset
from visionkit.data.datasets.subset import SubsetDataset
from visionkit.errors import ConfigError, DataError
from visionkit.structures import Annotation, Sample
from visionkit.text import format_list

SAME_BOX = 0.5
"""Largest difference in pixels of the corners of a box that is left out and of an object."""


@dataclass
class ExcludeOptions:
    """What is left out of a split. Nothing is deleted on disk. `visionkit data audit --write` makes such a list.

    Attributes:
        images: images by their path below `data.root`, or by their id if they have no file.
        boxes: boxes [x1, y1, x2, y2] in pixels by image. For each of them, one object at that place is left out.

    Raises:
        ConfigError: a box does not have four numbers.

    Example:
        >>> import visionkit as vk
        >>> exclude = {"train": vk.ExcludeOptions(images=["0", "3"])}
        >>> data = vk.VisionData("shapes", splits={"train": {"count": 8, "size": 64}}, exclude=exclude)
        >>> len(data.dataset("train"))
        6
    """

    images: list[str] = field(default_factory=list)
    boxes: dict[str, list[list[float]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        wrong = [box for boxes in self.boxes.values() for box in boxes if len(box) != 4]
        if wrong:
            raise ConfigError(f"boxes: {wrong[0]} must have four numbers: [x1, y1, x2, y2]")


class ExcludingDataset(SubsetDataset):
    """A dataset without some of its images and objects.

    Args:
        dataset: the whole dataset.
        names: name of each image.
        options: what is left out.
        split: name of the split, for messages.

    Raises:
        DataError: a name is not that of an image, or an image has no object at the place of a box.
    """

    def __init__(self, dataset: VisionDataset, names: Sequence[str], options: ExcludeOptions, split: str) -> None:
        where = f"data.exclude.{split}"
        index_of = {name: index for index, name in enumerate(names)}
        unknown = [name for name in [*options.images, *options.boxes] if name not in index_of]
        if unknown:
            raise DataError(
                f"{where}: {len(unknown)} names are not those of images of the split: {format_list(unknown)}\n"
                f"images have names such as {names[0] if names else '(the split is empty)'}; "
                "write the list again: visionkit data audit CARD --write"
            )
        left_out = {index_of[name] for name in options.images}
        super().__init__(dataset, [index for index in range(len(names)) if index not in left_out])
        self._dropped = {
            index_of[name]: _objects_at(dataset.annotation(index_of[name]), boxes, f"{where}.boxes.{name}")
            for name, boxes in options.boxes.items()
        }
        counts = {
            "images left out (data.exclude)": len(left_out),
            "objects left out (data.exclude)": sum(map(len, self._dropped.values())),
        }
        self.report = {**dataset.report, **{reason: count for reason, count in counts.items() if count}}

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        sample.annotation = self._without_dropped(sample.annotation, index)
        return sample

    def annotation(self, index: int) -> Annotation:
        """See `VisionDataset`."""
        return self._without_dropped(super().annotation(index), index)

    def _without_dropped(self, annotation: Annotation, index: int) -> Annotation:
        dropped = self._dropped.get(int(self.indices[index]))
        return annotation if dropped is None else annotation.select(np.delete(np.arange(len(annotation)), dropped))


def _objects_at(annotation: Annotation, boxes: Sequence[Sequence[float]], where: str) -> NDArray[np.int64]:
    """Return the index of one object for each box; of several objects at its place, the last that is not yet taken."""
    taken: list[int] = []
    for box in boxes:
        distance = np.abs(annotation.boxes - np.asarray(box, np.float32)).max(axis=1, initial=0)
        free = [index for index in np.flatnonzero(distance <= SAME_BOX).tolist() if index not in taken]
        if not free:
            raise DataError(f"{where}: the image has no object at {[*box]}, or fewer than are left out")
        taken.append(free[-1])
    return np.array(taken, np.int64)
