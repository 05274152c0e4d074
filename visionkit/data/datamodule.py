"""The Lightning datamodule: from a data card to batches, the same for every format and task."""

import os
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from visionkit.data.batch import Batch, TargetDataset, WorkerInit, collate
from visionkit.data.cached_features import FeatureDataset
from visionkit.data.datasets.base import VisionDataset
from visionkit.data.proposals.source import ProposalOptions, ProposalSource, create_proposal_source
from visionkit.data.samplers import ClassBalancedSampler, EvaluationSampler
from visionkit.data.splits import HoldoutOptions, RequiredAnnotation, Splits, read_labels
from visionkit.data.stats.pixel_counts import PixelCounts
from visionkit.data.transforms.augmentation import Augmentation
from visionkit.errors import ConfigError
from visionkit.structures import Color

Sampling = Literal["shuffled", "balanced"]

ORDERS: dict[Sampling, Callable[[VisionDataset, int, int], dict[str, Any]]] = {
    "shuffled": lambda reader, rank, processes: {"shuffle": True},  # Lightning deals it out to the processes
    "balanced": lambda reader, rank, processes: {"sampler": ClassBalancedSampler(read_labels(reader), rank, processes)},
}
"""The loader's arguments for each order of the training images."""


class VisionData(LightningDataModule):
    """Data of one card: readers by split, augmentation of the training split, batches.

    Args:
        format: which reader, a name of `visionkit list formats`.
        root: folder that the card's paths are relative to; None for formats without files.
        splits: for `train`, `val` and `test` the reader's options; a list of them is read as one set.
        classes: class names in label order; None takes them from the annotation files.
        download: where the data can be had (`visionkit data download`); not used in training.
        batch_size: images per process and step.
        num_workers: loader processes; None takes one per core, four at the most.
        augment: random transforms of the training split, see `Augmentation`.
        min_visibility: share of a box that must survive a crop for its object to stay.
        sampling: shuffled (every image once an epoch) or balanced (every class equally often; classification).
        holdout: what of `train` validates where the card has no `val` split.
        proposals: regions for the detectors that are given them, see `ProposalOptions`; None gives none.
        required: what an image must have to be of use; others are left out and counted.

    Raises:
        ConfigError: a number is out of its range, or `augment` names what does not exist.

    Example:
        >>> import visionkit as vk
        >>> splits = {"train": {"count": 8, "size": 64}, "val": {"count": 4, "size": 64, "split": "val"}}
        >>> data = vk.VisionData("shapes", splits=splits, batch_size=4, num_workers=0)
        >>> batch = next(iter(data.val_dataloader()))
        >>> batch.images[0].shape, batch.image_ids
        (torch.Size([3, 64, 64]), [0, 1, 2, 3])
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
        sampling: Sampling = "shuffled",
        holdout: HoldoutOptions | None = None,
        proposals: ProposalOptions | None = None,
        required: RequiredAnnotation | None = None,
    ) -> None:
        super().__init__()
        if batch_size < 1 or (num_workers or 0) < 0:
            raise ConfigError(f"data.batch_size={batch_size} must be at least 1, num_workers={num_workers} at least 0")
        self.splits = Splits(format, root, splits or {}, classes, holdout, required)
        self.download = download or []
        self.batch_size = batch_size
        self.num_workers = min(os.cpu_count() or 1, 4) if num_workers is None else num_workers
        self.augmentation = Augmentation(augment or [], min_visibility)
        self.sampling = sampling
        self.cached_features: dict[str, FeatureDataset] = {}
        """What the loaders hand out for a split in the place of its images."""
        self.proposal_options = proposals
        self._proposals: ProposalSource | None = None
        self._checked: set[str] = set()

    @property
    def class_names(self) -> list[str]:
        """The K class names in label order, from the training split (any split where there is none)."""
        return self.splits.class_names

    @property
    def category_ids(self) -> list[int]:
        """The data set's own ids of the classes, in label order."""
        return self.splits.category_ids

    @property
    def class_colors(self) -> list[Color] | None:
        """How masks of the classes are drawn, where the data set says so."""
        return self.splits.class_colors

    def dataset(self, split: str) -> VisionDataset:
        """The reader of `split`, opened once; see `Splits.dataset`."""
        return self.splits.dataset(split)

    def class_counts(self, split: str) -> NDArray[np.int64]:
        """Images of each class, int64 [K]; see `Splits.class_counts`."""
        return self.splits.class_counts(split)

    def pixel_counts(self, split: str) -> PixelCounts:
        """Pixels of each class and of the images that have it, int64 [K] each; see `count_pixels`."""
        return self.splits.pixel_counts(split)

    def proposals(self) -> ProposalSource | None:
        """What gives images their proposals, opened once; None where the recipe asks for none."""
        if self.proposal_options is not None and self._proposals is None:
            self._proposals = create_proposal_source(self.proposal_options)
        return self._proposals

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled, augmented batches of `train`; a last incomplete batch is left out."""
        reader = self.dataset("train")
        self.augmentation.fit(reader)
        dataset = self.cached_features.get("train") or TargetDataset(
            reader, self.augmentation, self._proposals_of("train", "val")
        )
        order = ORDERS[self.sampling](reader, *self._process())
        return self._loader(dataset, drop_last=len(dataset) >= self.batch_size, **order)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Batches of `val` in file order, every image once."""
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Batches of `test` (of `val` where there is none) in file order, every image once."""
        return self._evaluation_loader(self.splits.evaluation_split("test"))

    def _evaluation_loader(self, split: str) -> DataLoader[Batch]:
        dataset = self.cached_features.get(split) or TargetDataset(
            self.dataset(split), proposals=self._proposals_of(split)
        )
        return self._loader(dataset, sampler=EvaluationSampler(len(dataset), *self._process()))

    def _proposals_of(self, *splits: str) -> ProposalSource | None:
        """What `proposals` gives, held against all images of the splits first: no run ends in the middle for them."""
        source = self.proposals()
        for split in [split for split in splits if split in [*self.splits] and split not in self._checked]:
            if source is not None:
                source.check(self.dataset(split), split)
                self._checked.add(split)
        return source

    def _process(self) -> tuple[int, int]:
        """Which process of how many this is."""
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer is not None else (0, 1)

    def _loader(self, dataset: TargetDataset | FeatureDataset, **options: Any) -> DataLoader[Batch]:
        rank, _ = self._process()
        if self.num_workers == 0:
            dataset.seed(torch.initial_seed() + rank)
        return DataLoader(
            dataset,  # type: ignore[arg-type]
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            collate_fn=collate,
            worker_init_fn=WorkerInit(rank),
            pin_memory=torch.cuda.is_available(),
            persistent_workers=self.num_workers > 0,
            **options,
        )
