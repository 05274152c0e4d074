"""Names and ids of the images in a written dataset."""

from dataclasses import dataclass
from pathlib import Path

from visionkit.data.datasets.base import VisionDataset
from visionkit.data.datasets.image_path import image_path
from visionkit.data.io.image_files import SUFFIXES

GENERATED_SUFFIX = ".png"
"""Suffix of images that are not copied from a file."""


@dataclass
class SplitPlan:
    """The images of a split.

    Attributes:
        split: train, val or test.
        dataset: the images.
        names: file name of each image in the written dataset.
        numbers: integer id of each image: its own, if all are integers that differ, else from 1.
    """

    split: str
    dataset: VisionDataset
    names: list[str]
    numbers: list[int]


class NameGiver:
    """Gives file names that differ without their suffix; some file systems ignore the case.

    Args:
        spaces: whether names may have spaces, which otherwise become "_".

    Example:
        >>> from visionkit.data.export.plan import NameGiver
        >>> names = NameGiver()
        >>> names.give("a.jpg"), names.give("A.png"), names.give("b.jpg")
        ('a.jpg', 'A-2.png', 'b.jpg')
    """

    def __init__(self, spaces: bool = True) -> None:
        self._spaces, self._taken = spaces, set[str]()

    def give(self, name: str) -> str:
        """Return the name, with a number if another one has its stem."""
        name = "".join(
            character if character.isprintable() else "_" for character in name
        )  # XML cannot hold the others
        path = Path(name if self._spaces else "_".join(name.split()))
        stem, copy = path.stem, 1
        while stem.casefold() in self._taken:
            copy += 1
            stem = f"{path.stem}-{copy}"
        self._taken.add(stem.casefold())
        return f"{stem}{path.suffix}"


def plan_split(split: str, dataset: VisionDataset, names: NameGiver) -> SplitPlan:
    """Return the names and ids of the images of a split."""
    ids = [dataset.image_id(index) for index in range(len(dataset))]
    own = [image_id for image_id in ids if type(image_id) is int and image_id >= 0]
    numbers = own if len(own) == len(set(own)) == len(ids) else list(range(1, len(ids) + 1))
    return SplitPlan(split, dataset, [names.give(_name(dataset, index)) for index in range(len(ids))], numbers)


def _name(dataset: VisionDataset, index: int) -> str:
    """Return the name of an image's file; without one, its id."""
    path = image_path(dataset, index)
    if path is None:
        return f"{Path(str(dataset.image_id(index))).name}{GENERATED_SUFFIX}"
    return path.name if path.suffix.lower() in SUFFIXES else f"{path.name}{GENERATED_SUFFIX}"
