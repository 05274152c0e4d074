"""The splits of a data card: opened when asked for, held to one list of classes, and to what the task required."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import VisionDataset, formats
from visionkit.data.datasets.class_checks import check_same_classes
from visionkit.data.datasets.concatenated import ConcatenatedDataset, check_unique_image_ids
from visionkit.data.datasets.subset import SubsetDataset
from visionkit.data.holdout import stratified_holdout
from visionkit.data.stats.pixel_counts import PixelCounts, count_pixels
from visionkit.errors import ConfigError, DataError
from visionkit.registry import suggest
from visionkit.structures import Color

logger = logging.getLogger("visionkit")

SplitOptions = dict[str, Any] | list[dict[str, Any]]

RequiredAnnotation = Literal["label", "tags", "semantic"]
"""What an image must have to be of use for a task: one class, a list of any number of them, or a class a pixel."""

_HAS: dict[RequiredAnnotation, Callable[[VisionDataset, int], bool]] = {
    "label": lambda reader, index: reader.label(index) is not None,
    "tags": lambda reader, index: reader.tags(index) is not None,
    "semantic": lambda reader, index: reader.has_semantic(index),
}
_IN_WORDS: dict[RequiredAnnotation, str] = {
    "label": "one class",
    "tags": "a list of classes",
    "semantic": "a mask of classes",
}


@dataclass
class HoldoutOptions:
    """Part of the training split that is kept for validation, where a card has no `val` split.

    Attributes:
        fraction: share of the images (of each class, where images have one), above 0 and below 1.
        seed: another seed keeps other images.

    Example:
        >>> import visionkit as vk
        >>> splits = {"train": {"count": 100, "size": 64}}
        >>> data = vk.VisionData("shapes", splits=splits, holdout=vk.HoldoutOptions(fraction=0.3))
        >>> len(data.dataset("train")), len(data.dataset("val"))
        (70, 30)
    """

    fraction: float = 0.2
    seed: int = 0


class Splits:
    """The readers of a card by split.

    Args:
        format: which reader, a name of `visionkit list formats`.
        root: folder that the card's paths are relative to; None for formats without files.
        options: for `train`, `val` and `test` the reader's options; a list of them is read as one set.
        classes: class names in label order; None takes them from the annotation files.
        holdout: what of `train` validates where there is no `val`.
        required: what an image must have to be of use; others are left out and counted.

    Raises:
        ConfigError: something is to be held out although the card has a `val` split.
    """

    def __init__(
        self,
        format: str,
        root: str | None,
        options: Mapping[str, SplitOptions],
        classes: list[str] | None = None,
        holdout: HoldoutOptions | None = None,
        required: RequiredAnnotation | None = None,
    ) -> None:
        self.format, self.root, self.options, self.classes = format, root, options, classes
        self.holdout, self.required = holdout, required
        if holdout is not None and "val" in options:
            raise ConfigError("data.holdout: the card has a val split of its own; take one of the two out")
        self._read: dict[str, VisionDataset] = {}

    @property
    def class_names(self) -> list[str]:
        """The K class names in label order, from the training split (any split where there is none)."""
        return self._any_split().class_names

    @property
    def category_ids(self) -> list[int]:
        """The data set's own ids of the classes, in label order."""
        return self._any_split().category_ids

    @property
    def class_colors(self) -> list[Color] | None:
        """How masks of the classes are drawn, where the data set says so."""
        return self._any_split().class_colors

    def dataset(self, split: str) -> VisionDataset:
        """The reader of `split`, opened once.

        Raises:
            ConfigError: the card has no such split.
            DataError: the splits disagree about the classes, the files are not as the card says, or images that are
                to be scored share an id.
        """
        if split not in self._read:
            read = self._useful(split, self._open(split))
            if split != "train":
                check_unique_image_ids(read, split)
            self._read[split] = read
            check_same_classes({name: read.class_names for name, read in self._read.items()})
        return self._read[split]

    def class_counts(self, split: str) -> NDArray[np.int64]:
        """Images of each class in a split, int64 [K]; one with several classes counts for each of them."""
        held = [_classes_of(self.dataset(split), index) for index in range(len(self.dataset(split)))]
        return np.bincount(np.concatenate([*held, np.zeros(0, np.int64)]), minlength=len(self.class_names))

    def pixel_counts(self, split: str) -> PixelCounts:
        """Pixels of each class in a split, and what they are out of; reads every mask."""
        return count_pixels(self.dataset(split))

    def evaluation_split(self, wanted: str) -> str:
        """`wanted`, or `val` where the card has no test split of its own."""
        return wanted if wanted in self.options else "val"

    def __iter__(self) -> Iterator[str]:
        """The names of the splits there are."""
        held_out = ["val"] if self.holdout is not None else []
        return iter([*self.options, *held_out])

    def _any_split(self) -> VisionDataset:
        return self.dataset("train" if "train" in self.options else next(iter(self.options), "train"))

    def _open(self, split: str) -> VisionDataset:
        """The split as the card gives it, or a part of `train` where one is held out."""
        if self.holdout is None or split not in ("train", "val"):
            return self._read_split(split)
        whole = self._read_split("train")
        kept, held_out = stratified_holdout(read_labels(whole), self.holdout.fraction, self.holdout.seed)
        return SubsetDataset(whole, kept if split == "train" else held_out)

    def _useful(self, split: str, reader: VisionDataset) -> VisionDataset:
        """The images of a reader that have what the task required."""
        if self.required is None:
            return reader
        useful = np.flatnonzero([_HAS[self.required](reader, index) for index in range(len(reader))])
        if not len(useful):
            raise DataError(f"no image of {split} has {_IN_WORDS[self.required]}: is this card meant for this task?")
        if len(useful) < len(reader):
            logger.warning(
                "%s: %d images without %s are left out", split, len(reader) - len(useful), _IN_WORDS[self.required]
            )
            return SubsetDataset(reader, useful)
        return reader

    def _read_split(self, split: str) -> VisionDataset:
        if split not in self.options:
            raise ConfigError(
                f"the data card has no split {split!r}{suggest(split, self.options)}\nadd it under data.splits"
            )
        options = self.options[split]
        parts = [self._reader(part) for part in (options if isinstance(options, list) else [options])]
        return parts[0] if len(parts) == 1 else ConcatenatedDataset(parts)

    def _reader(self, options: dict[str, Any]) -> VisionDataset:
        given = {**options, "root": None if self.root is None else Path(self.root)}
        if self.classes is not None:
            given["classes"] = self.classes
        reader: VisionDataset = formats.get(self.format)(**given)
        return reader


def read_labels(reader: VisionDataset) -> NDArray[np.int64]:
    """Class of each image, int64 [images]; -1 where it has none."""
    found = (reader.label(index) for index in range(len(reader)))
    return np.array([-1 if label is None else label for label in found], np.int64)


def _classes_of(reader: VisionDataset, index: int) -> NDArray[np.int64]:
    """The classes of an image: its label, or its tags."""
    label, tags = reader.label(index), reader.tags(index)
    return np.array([label]) if label is not None else tags if tags is not None else np.zeros(0, np.int64)
