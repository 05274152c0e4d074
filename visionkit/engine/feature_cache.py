"""Training of a head over features that are computed once.

While the backbone is fixed and images are not varied at random, every epoch computes the same features. Here they are
computed before the first one and kept on disk, and the ordinary training loop goes through them in place of images.
"""

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.utils.data import DataLoader

from visionkit.backbones import Backbone
from visionkit.data.cached_features import (
    FORMAT_VERSION,
    FeatureDataset,
    FeatureFile,
    UncachedImages,
    digest,
    digest_of_array,
)
from visionkit.data.datamodule import VisionData
from visionkit.errors import ConfigError
from visionkit.models.classification.classifier import Classifier
from visionkit.structures import Target
from visionkit.tasks.base import datamodule_of

logger = logging.getLogger("visionkit")

OF_TRAINING = ("weights", "norm", "frozen_stages", "initialized_from")
"""Of a backbone's description what says how it got its values and whether they learn."""


@dataclass
class FeatureCacheOptions:
    """Where features of a fixed backbone are kept.

    Attributes:
        folder: any; files in it have names that tell networks and preprocessings apart, and many runs may share it.
    """

    folder: str


class FeatureCache(Callback):
    """Lets a run of `fit` train and validate on kept features.

    A feature is used again only for the same weights, network, preprocessing, precision and image, each compared by
    its content.

    Args:
        folder: where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.weights = b""

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Compute what is missing: the loaders, which are made next, hand out features.

        Raises:
            ConfigError: the features would not be the same in every epoch.
        """
        if stage != "fit":
            return
        data = _refuse_changing_features(trainer, pl_module)
        pl_module.to(trainer.strategy.root_device)
        self.weights = weights_digest(pl_module.backbone)  # type: ignore[arg-type]
        if not trainer.is_global_zero:  # the first process computes, the others find all of it done
            trainer.strategy.barrier()
        for split in {"train", "val"} & set(data.splits):
            data.cached_features[split] = self._features(split, data, trainer, pl_module)
        if trainer.is_global_zero:
            trainer.strategy.barrier()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse a checkpoint whose backbone is another one than that of the features.

        Raises:
            ConfigError: so it is.
        """
        if weights_digest(pl_module.backbone) != self.weights:  # type: ignore[arg-type]
            raise ConfigError(
                "feature_cache: the checkpoint's backbone has other weights than the recipe gives it\n"
                "resume without feature_cache, or with the weights of that run"
            )

    def _features(self, split: str, data: VisionData, trainer: Trainer, task: Any) -> FeatureDataset:
        training = split == "train"
        kept = FeatureFile(self.folder / f"{self._fingerprint(task, training, trainer.precision)}.pt")
        before, keys, targets = len(kept.rows), [], []
        for found, missing in _batches(data, split, kept):
            keys += [key for key, _ in found]
            targets += [target for _, target in found]
            if missing:
                with trainer.precision_plugin.forward_context(), torch.no_grad():
                    rows = _computed(task, list(missing.values()), training).cpu()
                kept.rows.update(zip(missing, rows, strict=True))
        if len(kept.rows) > before:
            kept.save()
        logger.info("features of %s: %d computed, the rest from %s", split, len(kept.rows) - before, kept.path)
        return FeatureDataset([kept.rows[key] for key in keys], targets)

    def _fingerprint(self, task: Any, training: bool, precision: str) -> str:
        """Of all that a feature depends on but the image."""
        network = {**structure(task.backbone), "head": type(task.network.head).__name__}
        # a training image of the crop's size is taken as it is, another one goes the way of evaluation
        way = {**dataclasses.asdict(task.pipeline.preprocess_options), "training": training, "precision": precision}
        return fingerprint(FORMAT_VERSION, network, way, self.weights)


def fingerprint(version: int, network: Mapping[str, Any], way: Mapping[str, Any], weights: bytes) -> str:
    """Name of all features of one network: of its structure, the images' way to it, and `weights_digest` of it."""
    described = f"{version} {sorted(network.items())} {sorted(way.items())}"
    return digest(described.encode(), weights).hex()


def structure(backbone: Backbone) -> dict[str, Any]:
    """Of a backbone's description what decides on its features, beside its values."""
    return {key: value for key, value in backbone.spec.items() if key not in OF_TRAINING}


def weights_digest(network: nn.Module) -> bytes:
    """Digest of all values of a network."""
    state = network.state_dict()
    return digest(*(part for key in sorted(state) for part in (key.encode(), digest_of_array(_plain(state[key])))))


def _plain(values: Tensor) -> Any:
    """The values as an array; types that numpy lacks (bfloat16) become wider without loss."""
    values = values.detach().cpu()
    return values.float().numpy() if values.dtype == torch.bfloat16 else values.numpy()


def _batches(
    data: VisionData, split: str, kept: FeatureFile
) -> Iterator[tuple[list[tuple[bytes, Target]], dict[bytes, Tensor]]]:
    """The images of a split in its order: digest and target of each, and the images of which nothing is kept."""
    loader = DataLoader(
        UncachedImages(data.dataset(split), kept.rows),
        batch_size=data.batch_size,
        num_workers=data.num_workers,
        collate_fn=list,
        generator=torch.Generator(),  # of its own, so that training draws what it would draw without a cache
    )
    for items in loader:
        yield (
            [(key, target) for key, target, _ in items],
            {key: image for key, _, image in items if image is not None and key not in kept.rows},
        )


def _computed(task: Any, images: list[Tensor], training: bool) -> Tensor:
    """What the head takes of the backbone's deepest map, [B, C, h, w]."""
    mode = task.preprocessing.training
    task.network.eval()
    task.preprocessing.train(training)
    prepared = task.preprocessing([image.to(task.device) for image in images])
    deepest = list(task.network.backbone(task.runtime_options.lay_out(prepared)).values())[-1]
    pooled: Tensor = task.network.head.pool(deepest)
    task.network.train()
    task.preprocessing.train(mode)
    return pooled


def _refuse_changing_features(trainer: Trainer, task: Any) -> VisionData:
    """The run's data, where features stay what they are from epoch to epoch."""
    data, network = datamodule_of(trainer), task.network
    if data is None or not isinstance(network, Classifier):
        raise ConfigError("feature_cache is for classifiers (model.name=classifier) and the data of a card")
    hindrances = {
        "the backbone learns: set model.backbone.frozen_stages=all, and take unfreeze out": any(
            parameter.requires_grad for parameter in network.backbone.parameters()
        ),
        "data.augment varies the images at random: set data.augment=[]": bool(data.augmentation),
        "mixing varies the images at random: take it out": task.mixing is not None,
        f"auxiliary heads look inside {network.backbone.name}: take another backbone": bool(
            network.backbone.inner_channels
        ),
    }
    found = [reason for reason, applies in hindrances.items() if applies]
    if found:
        raise ConfigError("\n".join(["feature_cache: features would not be the same in every epoch", *found[:3]]))
    return data
