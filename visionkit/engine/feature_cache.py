"""Training of a head on features that are computed once and kept on disk.

With a frozen backbone and without random augmentation every epoch computes the same features. They are computed before
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

from visionkit.data.cached_features import FORMAT_VERSION, FeatureDataset, FeatureFile, UncachedImages
from visionkit.data.datamodule import VisionData
from visionkit.engine.fingerprint import backbone_structure, fingerprint, weights_digest
from visionkit.errors import ConfigError
from visionkit.models.classification.classifier import Classifier
from visionkit.structures import Target
from visionkit.tasks.base import datamodule_of
from visionkit.tasks.classification import Classification

logger = logging.getLogger("visionkit")


@dataclass
class FeatureCacheOptions:
    """Where the features of a frozen backbone are kept.

    Attributes:
        folder: for the files, which are named by a digest of network and preprocessing; several runs may share it.
    """

    folder: str


class FeatureCache(Callback):
    """Let `fit` train and validate on kept features.

    A feature is used only if weights, network, preprocessing, precision and image are the same, by their content.

    Args:
        options: where the features are kept.
    """

    def __init__(self, options: FeatureCacheOptions) -> None:
        self.folder = Path(options.folder)
        self.weights = b""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Compute missing features before the loaders are made.

        Raises:
            ConfigError: the features would not be the same in every epoch.
        """
        if stage != "fit":
            return
        task, data = _check_fixed_features(trainer, pl_module)
        task.to(trainer.strategy.root_device)
        self.weights = weights_digest(task.backbone)
        if not trainer.is_global_zero:  # the first process computes, the others then read
            trainer.strategy.barrier()
        for split in {"train", "val"} & set(data.splits):
            data.cached_features[split] = self._features(split, data, trainer, task)
        if trainer.is_global_zero:
            trainer.strategy.barrier()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check that a resumed checkpoint has the backbone of the features.

        Raises:
            ConfigError: it has other weights.
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
    # In training an image of the crop's size is not resized, in evaluation it is.
    preprocess = dataclasses.asdict(task.model_pipeline.preprocess_options) | {
        "training": training,
        "precision": precision,
    }
    return fingerprint(FORMAT_VERSION, structure, preprocess, weights)


def _batches(
    data: VisionData, split: str, file: FeatureFile
) -> Iterator[tuple[list[tuple[bytes, Target]], dict[bytes, Tensor]]]:
    """Yield the images of a split in their order: digest and target of each, and the images that are not in `file`."""
    loader = DataLoader(
        UncachedImages(data.dataset(split), file.rows),
        batch_size=data.batch_size,
        num_workers=data.num_workers,
        collate_fn=list,
        generator=torch.Generator(),  # its own, so that random numbers of the training do not depend on the cache
    )
    for items in loader:
        yield (
            [(key, target) for key, target, _ in items],
            {key: image for key, _, image in items if image is not None and key not in file.rows},
        )


def _compute(task: Classification, images: list[Tensor], training: bool) -> Tensor:
    """Return what the classification head makes its logits of, [B, C, h, w]."""
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
