"""Training of a head on features that are computed once and stored on disk.

With a frozen backbone and without random augmentation, every epoch computes the same features. They are computed before
the first epoch, and the loaders return them instead of images.
"""

import dataclasses
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor
from torch.utils.data import DataLoader

from visionkit.data.datamodule import VisionData
from visionkit.data.feature_files import FORMAT_VERSION, FeatureDataset, FeatureFile, UncachedImages
from visionkit.engine.feature_key import backbone_structure, fingerprint, weights_digest
from visionkit.errors import ConfigError
from visionkit.models.classification.classifier import Classifier
from visionkit.structures import Target
from visionkit.tasks.base import datamodule_of
from visionkit.tasks.classification import Classification

logger = logging.getLogger("visionkit")


@dataclass
class FeatureCacheOptions:
    """Cache of the features of a frozen backbone.

    Attributes:
        folder: folder of the files, which are named by a digest of network and preprocessing. Several runs may share
            it.

    Example:
        >>> import visionkit as vk
        >>> options = vk.FeatureCacheOptions(folder="features")
        >>> type(vk.make_callbacks("run", "val/accuracy", feature_cache=options)[-1]).__name__
        'FeatureCache'
    """

    folder: str


class FeatureCache(Callback):
    """Callback that makes `fit` train and validate on cached features.

    A feature is used only if the contents of weights, network, preprocessing, precision and image are the same.

    Args:
        options: folder of the features.
    """

    def __init__(self, options: FeatureCacheOptions) -> None:
        self.folder = Path(options.folder)
        self.weights = b""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Compute missing features before the data loaders are created.

        Raises:
            ConfigError: the features would not be the same in every epoch.
        """
        if stage != "fit":
            return
        task, data = _check_fixed_features(trainer, pl_module)
        task.to(trainer.strategy.root_device)
        self.weights = weights_digest(task.backbone)
        if not trainer.is_global_zero:  # the first process computes the features, and the others read them
            trainer.strategy.barrier()
        for split in {"train", "val"} & set(data.splits):
            data.cached_features[split] = self._features(split, data, trainer, task)
        if trainer.is_global_zero:
            trainer.strategy.barrier()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check that a resumed checkpoint has the same backbone weights as the features.

        Raises:
            ConfigError: the checkpoint has other weights.
        """
        assert isinstance(pl_module, Classification)  # checked by `setup`
        if weights_digest(pl_module.backbone) != self.weights:
            raise ConfigError(
                "feature_cache: the checkpoint's backbone has other weights than that of the recipe\n"
                "resume without feature_cache, or with the weights of that run"
            )

    def _features(self, split: str, data: VisionData, trainer: Trainer, task: Classification) -> FeatureDataset:
        training = split == "train"
        file = FeatureFile(self.folder / f"{_fingerprint(task, training, trainer.precision, self.weights)}.pt")
        before, keys, targets = len(file.rows), [], []
        for batch, missing in _batches(data, split, file):
            keys += [key for key, _ in batch]
            targets += [target for _, target in batch]
            if missing:
                with trainer.precision_plugin.forward_context(), torch.no_grad():
                    rows = _compute(task, list(missing.values()), training).cpu()
                file.rows.update(zip(missing, rows, strict=True))
        if len(file.rows) > before:
            file.save()
        logger.info("features of %s: %d computed, the rest from %s", split, len(file.rows) - before, file.path)
        return FeatureDataset([file.rows[key] for key in keys], targets)


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
    data: VisionData, split: str, file: FeatureFile
) -> Iterator[tuple[list[tuple[bytes, Target]], dict[bytes, Tensor]]]:
    """Yield the digests and targets of the images of a split in order, and the images that are not in `file`."""
    loader = DataLoader(
        UncachedImages(data.dataset(split), file.rows),
        batch_size=data.batch_size,
        num_workers=data.num_workers,
        collate_fn=list,
        generator=torch.Generator(),  # keeps random numbers in training independent of the cache
    )
    for items in loader:
        yield (
            [(key, target) for key, target, _ in items],
            {key: image for key, _, image in items if image is not None and key not in file.rows},
        )


def _compute(task: Classification, images: list[Tensor], training: bool) -> Tensor:
    """Return the pooled features from which the classification head computes logits, [B, C, h, w]."""
    network = task.network
    assert isinstance(network, Classifier)  # see `_check_fixed_features`
    mode = task.preprocessing.training
    network.eval()
    task.preprocessing.train(training)
    prepared = task.preprocessing([image.to(task.device) for image in images])
    deepest = list(network.backbone(task.runtime_options.lay_out(prepared)).values())[-1]
    features = network.head.pool(deepest)
    network.train()
    task.preprocessing.train(mode)
    return features


def _check_fixed_features(trainer: Trainer, task: LightningModule) -> tuple[Classification, VisionData]:
    """Return task and data if the features are the same in every epoch."""
    data = datamodule_of(trainer)
    if data is None or not isinstance(task, Classification) or not isinstance(task.network, Classifier):
        raise ConfigError("feature_cache needs a classifier (model.name=classifier) and a VisionData as datamodule")
    network = task.network
    problems = {
        "the backbone is trained: set model.backbone.frozen_stages=all, and remove unfreeze": any(
            parameter.requires_grad for parameter in network.backbone.parameters()
        ),
        "data.augment changes the images at random: set data.augment=[]": bool(data.augmentation),
        "mixing changes the images at random: remove it": task.mixing is not None,
        f"auxiliary heads use inner features of {network.backbone.name}: use another backbone": bool(
            network.backbone.inner_channels
        ),
    }
    reasons = [reason for reason, applies in problems.items() if applies]
    if reasons:
        raise ConfigError("\n".join(["feature_cache: features would not be the same in every epoch", *reasons[:3]]))
    return task, data
