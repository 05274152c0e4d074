"""The Lightning datamodule, which is the same for every data format and task."""

import os
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from visionkit.data.batch import Batch, TargetDataset, collate, initialize_worker
from visionkit.data.card_splits import CardSplits
from visionkit.data.dataset_splits import DatasetSplits
from visionkit.data.datasets.base import RequiredAnnotation, VisionDataset
from visionkit.data.datasets.sharded import shards_of
from visionkit.data.datasets.torch_pairs import PairDataset, as_vision_dataset
from visionkit.data.exclude import ExcludeOptions
from visionkit.data.feature_files import FeatureDataset
from visionkit.data.holdout import HoldoutOptions
from visionkit.data.packed.stream_options import StreamOptions
from visionkit.data.proposals.proposal_source import ProposalOptions, ProposalSource, create_proposal_source
from visionkit.data.samplers import ClassBalancedSampler, EvaluationSampler, Place, ShuffledSampler, TrainingSampler
from visionkit.data.shard_samplers import ShardEvaluationSampler, ShardSampler
from visionkit.data.splits import Splits, read_labels
from visionkit.data.stats.pixel_counts import PixelCounts
from visionkit.data.training_loader import Position, TrainingLoader
from visionkit.data.transforms.augmentation import Augmentation
from visionkit.errors import ConfigError
from visionkit.option_checks import check_at_least, check_within
from visionkit.structures import Color

Sampling = Literal["shuffled", "balanced"]

MAX_WORKERS = 1024
"""Largest number of worker processes. A larger one is a mistake, and would exhaust the processes of the machine."""


def _shuffled(dataset: VisionDataset, place: Place, stream: StreamOptions) -> TrainingSampler:
    shards = shards_of(dataset)
    if shards is None:
        return ShuffledSampler(len(dataset), place.rank, place.processes)
    return ShardSampler(shards, place, stream.window, stream.streams)


def _balanced(dataset: VisionDataset, place: Place, stream: StreamOptions) -> TrainingSampler:
    return ClassBalancedSampler(read_labels(dataset), place.rank, place.processes)


SAMPLERS: dict[Sampling, Callable[[VisionDataset, Place, StreamOptions], TrainingSampler]] = {
    "shuffled": _shuffled,
    "balanced": _balanced,
}
"""Sampler of the training images for each value of `data.sampling`."""


class VisionData(LightningDataModule):
    """LightningDataModule of one data card, or of datasets made in Python (`from_datasets`).

    Args:
        format: data format, a name of `visionkit list formats`.
        root: folder that the paths of the card are relative to; None for formats without files.
        splits: options of the format's dataset class for `train`, `val` and `test`; a list is read as one dataset.
        classes: class names in label order; None takes them from the annotation files.
        download: files that `visionkit data download` fetches; not used in training.
        batch_size: images per process and step.
        num_workers: worker processes of each DataLoader; None takes one per core, at most four.
        augment: random transforms of the training split, see `Augmentation`.
        min_visibility: share of a box that must remain after a crop for its object to stay.
        sampling: shuffled (every image once per epoch) or balanced (every class equally often; classification).
        holdout: part of `train` that is held out for validation, for cards without a `val` split.
        proposals: how proposals are made, for detectors that take them, see `ProposalOptions`; None makes none.
        bit_depth: number of bits, 9 to 16, that gray images with 16 bits use: 12 for values up to 4095. None uses all.
            Training stores it in the checkpoint, so that `predict` reads images in the same way.
        stream: order and cache of data in the format `packed`, see `StreamOptions`.
        exclude: images and objects that are left out, by split; nothing is deleted. `visionkit data audit` writes such
            lists.
        required: annotation that an image must have; images without it are skipped and counted.

    Raises:
        ConfigError: a number is out of its range, or `augment` names an unknown transform.

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
        bit_depth: int | None = None,
        stream: StreamOptions | None = None,
        exclude: dict[str, ExcludeOptions] | None = None,
        required: RequiredAnnotation | None = None,
    ) -> None:
        super().__init__()
        check_at_least(1, batch_size=batch_size)
        check_within(0, MAX_WORKERS, num_workers=num_workers)
        check_within(0, 1, min_visibility=min_visibility)
        self.splits: Splits = CardSplits(
            format, root, splits or {}, classes, holdout, required, bit_depth, stream, exclude
        )
        self.stream = stream or StreamOptions()
        self.download = download or []
        self.batch_size = batch_size
        self.num_workers = min(os.cpu_count() or 1, 4) if num_workers is None else num_workers
        self.augmentation = Augmentation(augment or [], min_visibility)
        self.sampling = sampling
        self.tested_split = "test"
        """Split that `test_dataloader` returns; `visionkit validate` sets "val"."""
        self.cached_features: dict[str, FeatureDataset] = {}
        """Features by split, which the loaders return instead of the images."""
        self.proposal_options = proposals
        self._proposals: ProposalSource | None = None
        self._checked: set[str] = set()
        self._start: Position | None = None

    @classmethod
    def from_datasets(  # type: ignore[override]  # Lightning's own has other arguments, and no classes
        cls,
        train: VisionDataset | PairDataset | None = None,
        val: VisionDataset | PairDataset | None = None,
        test: VisionDataset | PairDataset | None = None,
        class_names: Sequence[str] | None = None,
        first_label: int = 0,
        **options: Any,
    ) -> "VisionData":
        """Return the datamodule of map-style torch datasets, for example those of torchvision.

        Args:
            train: dataset of (image, target) pairs, see `TorchPairs`, or a `VisionDataset`; None for none.
            val: the same for validation.
            test: the same for testing.
            class_names: K names in label order; needed for datasets of pairs.
            first_label: label of the first class in the pairs: 1 if 0 is the background, as in torchvision's detectors.
            options: further arguments of `VisionData`, from `batch_size` to `required`.

        Raises:
            ConfigError: no dataset or no class names are given, a dataset is not map-style, or an option is one of data
                cards.

        Example:
            >>> import torch, visionkit as vk
            >>> pairs = [(torch.zeros(3, 32, 32), index % 2) for index in range(8)]
            >>> data = vk.VisionData.from_datasets(train=pairs, val=pairs, class_names=["cat", "dog"], batch_size=4)
            >>> next(iter(data.val_dataloader())).targets[1]["label"]
            1
        """
        given = {"train": train, "val": val, "test": test}
        datasets = {
            split: as_vision_dataset(dataset, split, class_names, first_label)
            for split, dataset in given.items()
            if dataset is not None
        }
        if not datasets:
            raise ConfigError("VisionData.from_datasets needs at least one of train, val and test")
        if of_cards := sorted(options.keys() & {"format", "root", "splits", "classes", "download"}):
            raise ConfigError(f"VisionData.from_datasets has no option {of_cards[0]}, which belongs to data cards")
        data = cls("datasets", **options)
        of = data.splits
        data.splits = DatasetSplits(datasets, of.holdout, of.required, of.bit_depth, of.excluded)
        return data

    @property
    def class_names(self) -> list[str]:
        """The K class names in label order, from the training split (from the first split if there is none)."""
        return self.splits.class_names

    @property
    def category_ids(self) -> list[int]:
        """The dataset's own ids of the classes, in label order."""
        return self.splits.category_ids

    @property
    def class_colors(self) -> list[Color] | None:
        """RGB colors in which masks of the classes are drawn; None if the dataset defines none."""
        return self.splits.class_colors

    @property
    def bit_depth(self) -> int | None:
        """Number of bits that gray images with 16 bits use, see `read_image`; None for all."""
        return self.splits.bit_depth

    def dataset(self, split: str) -> VisionDataset:
        """Return the dataset of `split`, which is opened once; see `Splits.dataset`."""
        return self.splits.dataset(split)

    def class_counts(self, split: str) -> NDArray[np.int64]:
        """Return the number of images of each class, int64 [K]; see `Splits.class_counts`."""
        return self.splits.class_counts(split)

    def pixel_counts(self, split: str) -> PixelCounts:
        """Return the pixel counts of each class, int64 [K] each; see `count_pixels`."""
        return self.splits.pixel_counts(split)

    def proposals(self) -> ProposalSource | None:
        """Return the source of proposals, which is opened once; None if no proposals are configured."""
        if self.proposal_options is not None and self._proposals is None:
            self._proposals = create_proposal_source(self.proposal_options)
        return self._proposals

    def train_dataloader(self) -> DataLoader[Batch]:
        """Return shuffled, augmented batches of `train`, without an incomplete last batch.

        Raises:
            ConfigError: there is no such split.
        """
        self.splits.check_trained()
        images = self.dataset("train")
        self.augmentation.fit(images)
        dataset = self.cached_features.get("train") or TargetDataset(
            images, self.augmentation, self._proposals_of("train", "val")
        )
        sampler = self._training_sampler(images)
        loader = TrainingLoader(
            dataset,  # type: ignore[arg-type]  # yields items; collate makes the batches of the return type
            sampler=sampler,
            drop_last=len(sampler) >= self.batch_size,
            **self._loader_arguments("train"),
        )
        loader.start, self._start = self._start, None
        return loader

    def state_dict(self) -> dict[str, Any]:
        """Return the position in the training epoch, which Lightning stores in checkpoints."""
        if self.trainer is None:
            return {}
        loop = self.trainer.fit_loop
        batches = loop.epoch_loop.batch_progress.current
        trained = batches.processed  # type: ignore[attr-defined]  # Lightning declares a base class
        return Position(loop.epoch_progress.current.ready - 1, trained)._asdict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from the position of a checkpoint in the next `train_dataloader`."""
        self._start = Position(**state) if state else None

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return batches of `val` in file order, every image once.

        In a process for which no image is left, this is one batch without images, because every process must take part
        in the computation of the metrics.
        """
        return self._evaluation_loader("val")

    def test_dataloader(self) -> DataLoader[Batch]:
        """Return batches of `tested_split` in file order, every image once; see `val_dataloader`.

        Raises:
            ConfigError: there is no such split.
        """
        self.splits.check_evaluated(self.tested_split)
        return self._evaluation_loader(self.tested_split)

    def _training_sampler(self, images: VisionDataset) -> TrainingSampler:
        """Return the sampler of the training images."""
        return SAMPLERS[self.sampling](images, self._place(), self.stream)

    def _evaluation_loader(self, split: str) -> DataLoader[Batch]:
        images, place = self.dataset(split), self._place()
        dataset = self.cached_features.get(split) or TargetDataset(images, proposals=self._proposals_of(split))
        shards = shards_of(images)
        if shards is None:
            sampler = EvaluationSampler(len(dataset), place.rank, place.processes)
        else:
            sampler = ShardEvaluationSampler(shards, place.rank, place.processes)
        return DataLoader(dataset, sampler=sampler, **self._loader_arguments(split))  # type: ignore[arg-type]  # see collate

    def _proposals_of(self, *splits: str) -> ProposalSource | None:
        """Return the source of proposals after checking it for all images of the splits, before training starts."""
        source = self.proposals()
        for split in [split for split in splits if split in [*self.splits] and split not in self._checked]:
            if source is not None:
                source.check(self.dataset(split), split)
                self._checked.add(split)
        return source

    def _place(self) -> Place:
        """Return the place of this process among all of them."""
        if self.trainer is None:
            return Place()
        trainer = self.trainer
        return Place(trainer.global_rank, trainer.world_size, trainer.num_nodes, trainer.node_rank)

    def _loader_arguments(self, split: str) -> dict[str, Any]:
        workers = 0 if split in self.cached_features else self.num_workers  # cached features need no reading
        return {
            "batch_size": self.batch_size,
            "num_workers": workers,
            "collate_fn": collate,
            "worker_init_fn": initialize_worker,
            "pin_memory": torch.cuda.is_available(),
            "persistent_workers": workers > 0,
        }
