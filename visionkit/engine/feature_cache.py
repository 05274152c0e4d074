"""Training of a head on features that are computed once.

With a frozen backbone and without random augmentation, every epoch computes the same features. They are computed before
the first epoch, and the loaders return them instead of images.
"""

import dataclasses
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader

from visionkit.data.datamodule import VisionData
from visionkit.data.feature_files import FORMAT_VERSION, FeatureDataset, FeatureFile, UncachedImages
from visionkit.engine.feature_key import backbone_structure, fingerprint, weights_digest
from visionkit.engine.time_budget import TimeBudget
from visionkit.errors import ConfigError
from visionkit.models.classification.classifier import Classifier
from visionkit.structures import Target
from visionkit.tasks.base import datamodule_of
from visionkit.tasks.classification import Classification

logger = logging.getLogger("visionkit")


MOST_BYTES = 2**30
"""Largest size of features that are kept without a folder: those of 130,000 images with 2,048 channels."""

MEASURED_BATCHES, MOST_TIME = 5, 0.5
"""Number of batches after which the time for all features is estimated, and the largest share of a run's time."""


@dataclass
class FeatureCacheOptions:
    """Features of a frozen backbone, which are computed once.

    Attributes:
        folder: folder of the files, which are named by a digest of network and preprocessing. Several runs may share
            it. It is an error if the features differ between epochs. None keeps the features of the run in memory, if
            they are the same in every epoch.

    Example:
        >>> import visionkit as vk
        >>> options = vk.FeatureCacheOptions(folder="features")
        >>> type(vk.make_callbacks("run", "val/accuracy", feature_cache=options)[-1]).__name__
        'FeatureCache'
    """

    folder: str | None = None


class FeatureCache(Callback):
    """Callback that makes `fit` train and validate on features that are computed once.

    It applies if every epoch would compute the same features; see `_reasons_against`. A feature is used only if the
    contents of weights, network, preprocessing, precision and image are the same.

    Args:
        options: folder of the features. Without one, the callback does nothing if features differ between epochs or
            need too much memory.
        budget: time of the run, of which at most half is for the features of a run without a folder; None sets no
            limit.
    """

    def __init__(self, options: FeatureCacheOptions, budget: TimeBudget | None = None) -> None:
        self.folder = Path(options.folder) if options.folder else None
        self.budget = budget
        self.weights = b""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Compute missing features before the data loaders are created.

        Raises:
            ConfigError: there is a folder, and the features would not be the same in every epoch.
        """
        data = datamodule_of(trainer)
        if stage != "fit" or data is None or not self._applies(pl_module, data) or not _trains(trainer):
            return
        assert isinstance(pl_module, Classification)
        pl_module.to(trainer.strategy.root_device)
        trainer.precision_plugin.convert_module(pl_module)  # as Lightning does afterwards
        count = _count(trainer, data)
        place = "memory" if self.folder is None else self.folder
        logger.info("features of %d images are computed once and kept in %s", count, place)
        try:
            data.cached_features = self._features_of_splits(data, trainer, pl_module)
        except _TooManyError as error:
            logger.info("features are computed in every epoch: %s", error)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute the features again if a resumed checkpoint has other backbone weights.

        Raises:
            ConfigError: there is a folder, and the checkpoint has other weights.
        """
        data = datamodule_of(trainer)
        if data is None or not data.cached_features:
            return
        assert isinstance(pl_module, Classification)
        if weights_digest(pl_module.backbone) == self.weights:
            return
        if self.folder is not None:
            raise ConfigError(
                "feature_cache: the checkpoint's backbone has other weights than that of the recipe\n"
                "resume without feature_cache, or with the weights of that run"
            )
        self.budget = None  # the loaders have the features already, so they must be computed
        for split, computed in self._features_of_splits(data, trainer, pl_module).items():
            data.cached_features[split].features = computed.features

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Remove the features, so that another training or test with the same data reads images."""
        _forget(trainer)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Remove the features; see `teardown`."""
        _forget(trainer)

    def _applies(self, task: LightningModule, data: VisionData) -> bool:
        """Return whether the features can be used.

        Raises:
            ConfigError: there is a folder, and they cannot.
        """
        reasons = _reasons_against(task, data)
        if reasons and self.folder is not None:
            raise ConfigError("\n".join(["feature_cache: features would not be the same in every epoch", *reasons[:3]]))
        if reasons and isinstance(task, Classification) and _is_frozen(task):
            logger.info("the backbone is frozen, but features are computed in every epoch: %s", "; ".join(reasons))
        return not reasons

    def _features_of_splits(
        self, data: VisionData, trainer: Trainer, task: Classification
    ) -> dict[str, FeatureDataset]:
        """Return the features of the images of `train` and `val`."""
        self.weights = weights_digest(task.backbone)
        shares_files = self.folder is not None and not trainer.is_global_zero
        if shares_files:  # the first process computes the features, and the others read them
            trainer.strategy.barrier()
        features = {split: self._features(split, data, trainer, task) for split in _splits(trainer, data)}
        if not shares_files and self.folder is not None:
            trainer.strategy.barrier()
        return features

    def _features(self, split: str, data: VisionData, trainer: Trainer, task: Classification) -> FeatureDataset:
        training = split == "train"
        file = None
        if self.folder is not None:
            file = FeatureFile(self.folder / f"{_fingerprint(task, training, trainer.precision, self.weights)}.pt")
        rows: dict[bytes, Tensor] = {} if file is None else file.rows
        measured = min(MEASURED_BATCHES * data.batch_size, len(data.dataset(split)))
        before, start, keys, targets = len(rows), time.monotonic(), [], []
        for batch, missing in _batches(data, split, rows, hidden=trainer.progress_bar_callback is None):
            keys += [key for key, _ in batch]
            targets += [target for _, target in batch]
            if missing:
                with trainer.precision_plugin.forward_context(), torch.no_grad():
                    computed = _compute(task, list(missing.values()), training).cpu()
                rows.update(zip(missing, computed, strict=True))
            if file is None and training and len(keys) == measured:
                self._check_size(trainer, data, rows[keys[0]], (time.monotonic() - start) / len(keys))
        if file is not None:
            if len(rows) > before:
                file.save()
            logger.info("features of %s: %d computed, the rest from %s", split, len(rows) - before, file.path)
        return FeatureDataset([rows[key] for key in keys], targets)

    def _check_size(self, trainer: Trainer, data: VisionData, features: Tensor, seconds: float) -> None:
        """Check memory and time for the features of all images, given the features of one and the time per image.

        Raises:
            _TooManyError: they would need too much.
        """
        images = _count(trainer, data)
        size = images * features.nbytes
        if size > MOST_BYTES:
            raise _TooManyError(f"they need {size / 2**30:.1f} GiB of memory; feature_cache.folder=FOLDER keeps them")
        if self.budget is None:
            return
        needed, remaining = trainer.strategy.broadcast((images * seconds, self.budget.remaining))
        if needed > MOST_TIME * remaining:
            raise _TooManyError(f"all would take about {needed / 60:.1f} of {remaining / 60:.1f} minutes")


class _TooManyError(Exception):
    """Keeping the features needs too much memory or time."""


def _forget(trainer: Trainer) -> None:
    data = datamodule_of(trainer)
    if data is not None:
        data.cached_features = {}


def _trains(trainer: Trainer) -> bool:
    """Return whether the run has epochs, and is not a try of a few batches, for which all features take too long."""
    return trainer.max_epochs != 0 and not trainer.fast_dev_run  # type: ignore[attr-defined]  # Lightning sets it


def _splits(trainer: Trainer, data: VisionData) -> list[str]:
    """Return the splits that `fit` reads."""
    validated = ["val"] if trainer.limit_val_batches else []
    return [split for split in ("train", *validated) if split in data.splits and len(data.dataset(split))]


def _count(trainer: Trainer, data: VisionData) -> int:
    """Return the number of images of these splits."""
    return sum(len(data.dataset(split)) for split in _splits(trainer, data))


def _fingerprint(task: Classification, training: bool, precision: str, weights: bytes) -> str:
    """Return a digest of everything that the features depend on except the images."""
    structure = {**backbone_structure(task.backbone), "head": type(task.network.head).__name__}
    # An image of the crop size is not resized in training, but it is in evaluation.
    preprocess = dataclasses.asdict(task.model_pipeline.preprocess_options) | {
        "training": training,
        "precision": precision,
    }
    return fingerprint(FORMAT_VERSION, structure, preprocess, weights)


def _batches(
    data: VisionData, split: str, rows: Mapping[bytes, Tensor], hidden: bool
) -> Iterator[tuple[list[tuple[bytes, Target]], dict[bytes, Tensor]]]:
    """Yield the digests and targets of the images of a split in order, and the images that are not in `rows`.

    Args:
        data: the images.
        split: split of the images.
        rows: features by digest.
        hidden: whether no progress bar is shown.
    """
    loader = DataLoader(
        UncachedImages(data.dataset(split), rows),
        batch_size=data.batch_size,
        num_workers=data.num_workers,
        collate_fn=list,
        generator=torch.Generator(),  # keeps random numbers in training independent of the cache
    )
    console = Console(stderr=True)
    for items in track(loader, f"features of {split}", transient=True, console=console, disable=hidden):
        yield (
            [(key, target) for key, target, _ in items],
            {key: image for key, _, image in items if image is not None and key not in rows},
        )


def _compute(task: Classification, images: list[Tensor], training: bool) -> Tensor:
    """Return the pooled features from which the classification head computes logits, [B, C, h, w]."""
    network = task.network
    assert isinstance(network, Classifier)  # see `_reasons_against`
    mode = task.preprocessing.training
    network.eval()
    task.preprocessing.train(training)
    prepared = task.preprocessing([image.to(task.device) for image in images])
    deepest = list(network.backbone(task.runtime_options.lay_out(prepared)).values())[-1]
    features = network.head.pool(deepest)
    network.train()
    task.preprocessing.train(mode)
    return features


def _reasons_against(task: LightningModule, data: VisionData) -> list[str]:
    """Return why features cannot be kept, as advice for the user; no reasons if every epoch computes the same ones.

    They are the same if the whole backbone is frozen, BatchNorm statistics included, and nothing random precedes it.
    """
    if not isinstance(task, Classification) or not isinstance(task.network, Classifier):
        return ["only classifiers (model.name=classifier) have such features"]
    backbone = task.network.backbone
    problems = {
        "the backbone is trained: set model.backbone.frozen_stages=all, and remove unfreeze": not _is_frozen(task),
        "data.augment changes the images at random: set data.augment=[]": bool(data.augmentation),
        "mixing changes the images at random: remove it": task.mixing is not None,
        f"auxiliary heads use inner features of {backbone.name}: use another backbone": bool(backbone.inner_channels),
    }
    return [reason for reason, applies in problems.items() if applies]


def _is_frozen(task: Classification) -> bool:
    """Return whether no part of the backbone trains. The BatchNorm layers of a frozen backbone stay in eval mode."""
    return not any(parameter.requires_grad for parameter in task.backbone.parameters())
