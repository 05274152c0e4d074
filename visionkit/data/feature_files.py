"""Cache on disk of the features that a frozen network computes, with a digest of each image's content as key."""

import logging
import pickle
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor
from torch.utils.data import Dataset

from visionkit.data.batch import TargetDataset
from visionkit.data.datasets.base import VisionDataset
from visionkit.data.digest import digest, digest_array
from visionkit.data.io.atomic_write import atomic_write
from visionkit.data.samplers import SeededImage
from visionkit.structures import Target

FORMAT_VERSION = 1
TARGET_KEYS = ("image_id", "label", "tags", "size")

logger = logging.getLogger("visionkit")


class FeatureFile:
    """File of image features, with the digests of the images as keys.

    Args:
        path: path of the file. If the file is damaged or of another format, a warning is logged, and `save` replaces
            the file.

    Attributes:
        rows: features [C, h, w] by digest.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[bytes, Tensor] = {}
        if not path.is_file():
            return
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            keys, features = content["digests"], content["features"]
            if content["format"] != FORMAT_VERSION or content["checksum"] != _checksum(keys, features):
                raise ValueError("another format, or changed since it was written")
        except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, ValueError, LookupError, TypeError) as error:
            logger.warning("%s is not used: %s", path, (str(error).splitlines() or [type(error).__name__])[0])
            return
        self.rows = {bytes(key.tolist()): row for key, row in zip(keys, features, strict=True)}

    def save(self) -> None:
        """Write all rows to the file."""
        keys = torch.tensor([list(key) for key in self.rows], dtype=torch.uint8)
        features = torch.stack(list(self.rows.values()))
        content = {
            "format": FORMAT_VERSION,
            "digests": keys,
            "features": features,
            "checksum": _checksum(keys, features),
        }
        with atomic_write(self.path) as file:
            torch.save(content, file)


class UncachedImages(Dataset[tuple[bytes, Target, Tensor | None]]):
    """Dataset of the digest and target of each image, and of the image itself if its features are not cached.

    Args:
        dataset: dataset of the split.
        known: digests of the images whose features are cached.
    """

    def __init__(self, dataset: VisionDataset, known: Iterable[bytes]) -> None:
        self.images, self.known = TargetDataset(dataset), frozenset(known)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[bytes, Target, Tensor | None]:
        item = self.images[index]
        assert item is not None  # every index is one of an image
        image, target = item
        key = digest_array(image.numpy())
        kept = cast(Target, {name: value for name, value in target.items() if name in TARGET_KEYS})
        return key, kept, None if key in self.known else image


class FeatureDataset(Dataset[tuple[Tensor, Target]]):
    """Dataset of features instead of images.

    Args:
        features: [C, h, w], features of each image.
        targets: target of each image, see `to_target`.
    """

    def __init__(self, features: list[Tensor], targets: list[Target]) -> None:
        self.features, self.targets = torch.stack(features), targets

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, key: int | SeededImage) -> tuple[Tensor, Target]:
        index = key.number if isinstance(key, SeededImage) else key
        return self.features[index], self.targets[index]


def _checksum(keys: Tensor, features: Tensor) -> str:
    bits = features.contiguous().view(torch.uint8) if features.numel() else features
    return digest(keys.numpy().tobytes(), bits.numpy().tobytes(), str(features.shape).encode()).hex()
