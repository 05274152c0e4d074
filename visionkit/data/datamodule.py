"""The Lightning datamodule: from a data card to batches, the same for every format and task."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from visionkit.data.augment import Augmentation
from visionkit.data.formats import formats
from visionkit.data.preprocess import Target
from visionkit.data.sample import Annotation, Sample, VisionDataset
from visionkit.errors import DataError, RecipeError
from visionkit.registry import suggest

SplitOptions = dict[str, Any] | list[dict[str, Any]]


class Batch(NamedTuple):
    """Pictures uint8 [3, H, W] of any size, and one target each (boxes, labels, flags; see `to_target`)."""

    pictures: list[Tensor]
    targets: list[Target]


class VisionData(LightningDataModule):
    """Data of one card: readers by split, augmentation of the training split, batches.

    Args:
        format: which reader, a name of `visionkit list formats`.
        root: folder that the card's paths are relative to; None for formats without files.
        splits: for `train`, `val` and `test` the reader's options; a list of them is read as one set.
        classes: class names in label order; None takes them from the annotation files.
        download: where the data can be had (`visionkit data download`); not used in training.
        batch_size: pictures per process and step.
        num_workers: loader processes; None takes one per core, four at the most.
        augment: random transforms of the training split, see `Augmentation`.
        min_visibility: share of a box that must survive a crop for its object to stay.

    Raises:
        RecipeError: a number is out of its range, or `augment` names what does not exist.
    """

    def __init__(
        self,
        format: str,
        root: str | None = None,
        splits: dict[str, Any] | None = None,
        classes: list[str] | None = None,
        download: list[dict[str, Any]] | None = None,
        batch_size: int = 2,
        num_workers: int | None = None,
        augment: list[dict[str, Any]] | None = None,
        min_visibility: float = 0.1,
    ) -> None:
        super().__init__()
        if batch_size < 1 or (num_workers or 0) < 0:
            raise RecipeError(f"data.batch_size={batch_size} must be at least 1, num_workers={num_workers} at least 0")
        self.format, self.root = format, root
        self.splits, self.classes, self.download = splits or {}, classes, download or []
        self.batch_size = batch_size
        self.num_workers = min(os.cpu_count() or 1, 4) if num_workers is None else num_workers
        self.augmentation = Augmentation(augment or [], min_visibility)
        self._read: dict[str, VisionDataset] = {}

    @property
    def class_names(self) -> list[str]:
        """The K class names in label order, from the training split (any split where there is none)."""
        return self._any_split().class_names

    @property
    def category_ids(self) -> list[int]:
        """The data set's own ids of the classes, in label order."""
        return self._any_split().category_ids

    def dataset(self, split: str) -> VisionDataset:
        """The reader of `split`, opened once.

        Raises:
            RecipeError: the card has no such split.
            DataError: the splits disagree about the classes, or the files are not as the card says.
        """
        if split not in self._read:
            self._read[split] = self._open(split)
            names = {name: tuple(read.class_names) for name, read in self._read.items()}
            if len(set(names.values())) > 1:
                raise DataError(f"the splits have different classes: {names}; set data.classes in the card")
        return self._read[split]

    def evaluation_split(self, wanted: str) -> str:
        """`wanted`, or `val` where the card has no test split of its own."""
        return wanted if wanted in self.splits else "val"

    def _any_split(self) -> VisionDataset:
        return self.dataset("train" if "train" in self.splits else next(iter(self.splits), "train"))

    def _open(self, split: str) -> VisionDataset:
        if split not in self.splits:
            raise RecipeError(
                f"the data card has no split {split!r}{suggest(split, self.splits)}\nadd it under data.splits"
            )
        options = self.splits[split]
        parts = [self._reader(part) for part in (options if isinstance(options, list) else [options])]
        return parts[0] if len(parts) == 1 else JoinedDataset(parts)

    def _reader(self, options: dict[str, Any]) -> VisionDataset:
        given = {**options, "root": None if self.root is None else Path(self.root)}
        if self.classes is not None:
            given["classes"] = self.classes
        reader: VisionDataset = formats.get(self.format)(**given)
        return reader

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled, augmented batches of `train`; a last incomplete batch is left out."""
        dataset = TaskDataset(self.dataset("train"), self.augmentation)
        return self._loader(dataset, shuffle=True, drop_last=len(dataset) >= self.batch_size)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Batches of `val` in file order, every picture once."""
        return self._loader(TaskDataset(self.dataset("val")))

    def test_dataloader(self) -> DataLoader[Batch]:
        """Batches of `test` (of `val` where there is none) in file order, every picture once."""
        return self._loader(TaskDataset(self.dataset(self.evaluation_split("test"))))

    def _loader(self, dataset: "TaskDataset", **options: Any) -> DataLoader[Batch]:
        rank = self.trainer.global_rank if self.trainer is not None else 0
        if self.num_workers == 0:
            dataset.seed(torch.initial_seed() + rank)
        return DataLoader(
            dataset,  # type: ignore[arg-type]
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            collate_fn=collate,
            worker_init_fn=_WorkerStart(rank),
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
            **options,
        )


class TaskDataset(Dataset[tuple[Tensor, Target]]):
    """A reader's samples as tensors, augmented where `augmentation` is given."""

    def __init__(self, reader: VisionDataset, augmentation: Augmentation | None = None) -> None:
        self.reader, self.augmentation = reader, augmentation

    def __len__(self) -> int:
        return len(self.reader)

    def __getitem__(self, index: int) -> tuple[Tensor, Target]:
        sample = self.reader[index]
        if self.augmentation is not None:
            size, sample = sample.size, self.augmentation(sample)
            return to_tensor(sample.picture), {**to_target(sample), "size": size}
        return to_tensor(sample.picture), to_target(sample)

    def seed(self, seed: int) -> None:
        """Start the augmentation's random stream."""
        if self.augmentation is not None:
            self.augmentation.seed(seed)


class JoinedDataset:
    """Several readers of the same classes read as one set (VOC 2007 + 2012)."""

    def __init__(self, parts: Sequence[VisionDataset]) -> None:
        names = {tuple(part.class_names) for part in parts}
        if len(names) > 1:
            raise DataError(f"the parts of a split have different classes: {sorted(names)}; set data.classes")
        self.parts = list(parts)
        self.class_names, self.category_ids = parts[0].class_names, parts[0].category_ids
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


def to_tensor(picture: np.ndarray) -> Tensor:
    """Uint8 [H, W, 3] array to uint8 [3, H, W] tensor."""
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))


def to_target(sample: Sample) -> Target:
    """What networks and metrics want to know of a sample.

    Returns:
        boxes float32 [N, 4], labels int64 [N], crowd and difficult bool [N], area float32 [N], image_id,
        size (height, width), and masks (RLE, a list of N) where the sample has them.
    """
    annotation = sample.annotation
    target: Target = {
        "boxes": torch.from_numpy(annotation.boxes.astype(np.float32).reshape(-1, 4)),
        "labels": torch.from_numpy(annotation.labels.astype(np.int64)),
        "crowd": torch.from_numpy(annotation.crowd.astype(bool)),
        "difficult": torch.from_numpy(annotation.difficult.astype(bool)),
        "area": torch.from_numpy(annotation.area.astype(np.float32)),
        "image_id": sample.image_id,
        "size": sample.size,
    }
    if annotation.masks is not None:
        target["masks"] = annotation.masks
    return target


def collate(items: list[tuple[Tensor, Target]]) -> Batch:
    """Put samples side by side; pictures keep their own sizes."""
    pictures, targets = zip(*items, strict=True)
    return Batch(list(pictures), list(targets))


class _WorkerStart:
    """What a loader process does first. A class, because it must survive pickling to spawned workers."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def __call__(self, worker: int) -> None:
        import cv2

        cv2.setNumThreads(0)  # a thread pool in every worker would fight over the cores
        info = get_worker_info()
        if info is not None:
            # Every rank draws the same base seed after seed_everything: the rank must be mixed in.
            info.dataset.seed(info.seed + 1_000_003 * self.rank)  # type: ignore[attr-defined]
