"""The splits of a dataset: opened on demand, with equal classes, and only with images that the task can use."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import RequiredAnnotation, VisionDataset
from visionkit.data.datasets.class_checks import check_same_classes
from visionkit.data.datasets.concatenated import check_unique_image_ids
from visionkit.data.datasets.image_path import image_name, image_path
from visionkit.data.datasets.image_reader import ImageReader
from visionkit.data.datasets.subset import SubsetDataset
from visionkit.data.exclude import ExcludeOptions, ExcludingDataset
from visionkit.data.holdout import HoldoutOptions, stratified_holdout
from visionkit.data.holdout_copies import find_copies
from visionkit.data.holdout_groups import AUTO, find_groups, grouped_holdout
from visionkit.data.io.images import BIT_DEPTHS
from visionkit.data.stats.pixel_counts import PixelCounts, count_pixels
from visionkit.errors import ConfigError, DataError
from visionkit.option_checks import check_within
from visionkit.registry import suggest
from visionkit.structures import Color

logger = logging.getLogger("visionkit")

_HAS: dict[RequiredAnnotation, Callable[[VisionDataset, int], bool]] = {
    "label": lambda dataset, index: dataset.label(index) is not None,
    "tags": lambda dataset, index: dataset.tags(index) is not None,
    "semantic": lambda dataset, index: dataset.has_semantic(index),
}
_DESCRIPTIONS: dict[RequiredAnnotation, str] = {
    "label": "a single class",
    "tags": "a list of classes",
    "semantic": "a semantic mask",
    "masks": "masks of its objects",
}


class Splits(ABC):
    """Base class: the datasets of the splits `train`, `val` and `test`.

    Args:
        holdout: part of `train` that becomes `val`; None for data with a `val` split of its own.
        required: annotation that an image must have; images without it are skipped and counted.
        bit_depth: number of bits that gray images with 16 bits use, see `read_image`; None for all.
        excluded: what is left out of each split, after a part of `train` is held out; None leaves out nothing.

    Raises:
        ConfigError: `bit_depth` is out of its range.
    """

    def __init__(
        self,
        holdout: HoldoutOptions | None,
        required: RequiredAnnotation | None,
        bit_depth: int | None,
        excluded: Mapping[str, ExcludeOptions] | None = None,
    ) -> None:
        check_within(*BIT_DEPTHS, bit_depth=bit_depth)
        self.holdout, self.required, self.bit_depth, self.excluded = holdout, required, bit_depth, excluded or {}
        self._opened: dict[str, VisionDataset] = {}
        self._parts: dict[str, VisionDataset] = {}

    @property
    @abstractmethod
    def names(self) -> list[str]:
        """Names of the splits that the dataset has itself."""

    @abstractmethod
    def open(self, split: str) -> VisionDataset:
        """Return the dataset of one of `names`, with all its images.

        Raises:
            ConfigError: there is no such split.
        """

    @property
    def image_root(self) -> Path | None:
        """Folder that the names of images are relative to; None if there is none."""
        return None

    def image_name(self, dataset: VisionDataset, index: int) -> str:
        """Return the name of an image in `data.exclude`: its path below the data root, or its id without a file."""
        return image_name(dataset, index, self.image_root)

    @property
    def class_names(self) -> list[str]:
        """The K class names in label order, from the training split (from the first split if there is none)."""
        return self.main_split().class_names

    @property
    def category_ids(self) -> list[int]:
        """The dataset's own ids of the classes, in label order."""
        return self.main_split().category_ids

    @property
    def class_colors(self) -> list[Color] | None:
        """RGB colors in which masks of the classes are drawn; None if the dataset defines none."""
        return self.main_split().class_colors

    def dataset(self, split: str) -> VisionDataset:
        """Return the dataset of `split`, which is opened once.

        Raises:
            ConfigError: there is no such split.
            DataError: the splits have different classes, the files do not match the data card, or two images of an
                evaluation split have the same id.
        """
        if split not in self._opened:
            opened = self._with_required(split, self._without_excluded(split, self._open_part(split)))
            if split != "train":
                check_unique_image_ids(opened, split)
            self._opened[split] = opened
            check_same_classes({name: dataset.class_names for name, dataset in self._opened.items()})
        return self._opened[split]

    def class_counts(self, split: str) -> NDArray[np.int64]:
        """Return the number of images of each class, int64 [K]; an image with several classes counts for each."""
        dataset = self.dataset(split)
        classes = [_classes(dataset, index) for index in range(len(dataset))]
        return np.bincount(np.concatenate([*classes, np.zeros(0, np.int64)]), minlength=len(self.class_names))

    def pixel_counts(self, split: str) -> PixelCounts:
        """Return the pixel counts of each class, see `count_pixels`; this reads every mask."""
        return count_pixels(self.dataset(split))

    def check_trained(self) -> None:
        """Check that there is a split to train on.

        Raises:
            ConfigError: there is none; the message names the others.
        """
        if "train" not in self.names:
            raise ConfigError(
                f"the data has no train split, only {' and '.join(self.names) or 'none'}\n"
                "add it under data.splits; of a folder, write the card first, and rename a split in it:\n"
                "  visionkit data init FOLDER > data/mine.yaml"
            )

    def check_evaluated(self, split: str) -> None:
        """Check that there is a split to score.

        Raises:
            ConfigError: there is none; without `test` the message names `val`.
        """
        if split not in [*self]:
            advice = "score val (visionkit validate, Trainer.validate), or " if split == "test" else ""
            raise ConfigError(f"the data has no {split} split\n{advice}add it under data.splits")

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names of all splits, with `val` if it is held out."""
        held_out = ["val"] if self.holdout is not None else []
        return iter([*self.names, *held_out])

    def _check_excluded(self) -> None:
        unknown = [split for split in self.excluded if split not in [*self]]
        if self.names and unknown:
            raise ConfigError(f"data.exclude.{unknown[0]}: the data has no such split{suggest(unknown[0], [*self])}")

    def _check_holdout(self) -> None:
        if self.holdout is not None and "val" in self.names:
            raise ConfigError("data.holdout: the data has a val split already\nremove data.holdout or the val split")

    def _with_bit_depth(self, dataset: VisionDataset, source: str) -> VisionDataset:
        """Return a dataset, which now reads gray images with 16 bits by `bit_depth`.

        Args:
            dataset: the dataset.
            source: what it is, for messages.

        Raises:
            ConfigError: there is a `bit_depth`, and the dataset decodes no images.
        """
        if isinstance(dataset, ImageReader):
            dataset.bit_depth = self.bit_depth
        elif self.bit_depth is not None:
            raise ConfigError(
                f"bit_depth={self.bit_depth} is for image files with 16 bits, and {source} decodes none\n"
                "remove data.bit_depth"
            )
        return dataset

    def main_split(self) -> VisionDataset:
        """Return the dataset that the classes are taken from: `train`, or the first split if there is none."""
        return self.dataset("train" if "train" in self.names else next(iter(self.names), "train"))

    def _open_part(self, split: str) -> VisionDataset:
        """Return the whole split, or the part of `train` that is it if a part is held out."""
        if self.holdout is None or split not in ("train", "val"):
            return self.open(split)
        if not self._parts:
            whole = self.open("train")
            kept, held_out = self._hold_out(whole, self.holdout)
            self._parts = {"train": SubsetDataset(whole, kept), "val": SubsetDataset(whole, held_out)}
        return self._parts[split]

    def _without_excluded(self, split: str, dataset: VisionDataset) -> VisionDataset:
        """Return the images and objects of a split that the card does not leave out."""
        if split not in self.excluded:
            return dataset
        names = [self.image_name(dataset, index) for index in range(len(dataset))]
        return ExcludingDataset(dataset, names, self.excluded[split], split)

    def _hold_out(self, whole: VisionDataset, options: HoldoutOptions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the indices of the images that are kept and of those that are held out."""
        labels, paths = read_labels(whole), _paths(whole)
        groups = None if paths is None else find_groups(paths, labels, options.groups)
        if groups is None and paths is not None and options.groups == AUTO:
            groups = find_copies(paths, labels)
        if groups is None:
            return stratified_holdout(labels, options.fraction, options.seed)
        kept, held_out = grouped_holdout(labels, groups.indices, options.fraction, options.seed)
        logger.info(
            "val: %d of %d images held out by %d %s (data.holdout.groups)",
            len(held_out), len(labels), groups.indices.max() + 1, groups.description,
        )  # fmt: skip
        return kept, held_out

    def _with_required(self, split: str, dataset: VisionDataset) -> VisionDataset:
        """Return the images of a dataset that have the required annotation."""
        if self.required is None:
            return dataset
        if self.required == "masks":  # all images of a dataset have them, or none
            if len(dataset) and dataset.annotation(0).masks is None:
                raise DataError(f"the objects of {split} have no masks, which this model needs")
            return dataset
        useful = np.flatnonzero([_HAS[self.required](dataset, index) for index in range(len(dataset))])
        missing = _DESCRIPTIONS[self.required]
        if not len(useful):
            raise DataError(f"no image of {split} has {missing}: is this data meant for this task?")
        if len(useful) < len(dataset):
            logger.warning("%s: %d images without %s skipped", split, len(dataset) - len(useful), missing)
            return SubsetDataset(dataset, useful)
        return dataset


def read_labels(dataset: VisionDataset) -> NDArray[np.int64]:
    """Return the class of each image, int64 [images]; -1 for images without a single class."""
    labels = (dataset.label(index) for index in range(len(dataset)))
    return np.array([-1 if label is None else label for label in labels], np.int64)


def _paths(dataset: VisionDataset) -> list[Path] | None:
    """Return the path of each image file; None if an image has no file of its own."""
    paths = [image_path(dataset, index) for index in range(len(dataset))]
    found = [path for path in paths if path is not None]
    return found if len(found) == len(paths) else None


def _classes(dataset: VisionDataset, index: int) -> NDArray[np.int64]:
    """Return the classes of an image: its label, else its tags."""
    label, tags = dataset.label(index), dataset.tags(index)
    return np.array([label]) if label is not None else tags if tags is not None else np.zeros(0, np.int64)
