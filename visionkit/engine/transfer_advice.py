"""Which of the four textbook cases of transfer a data set is: few or many images, near to or far from the source.

The four are those of Stanford's course CS231n ("Transfer Learning", when and how to fine-tune), which gives no numbers;
the two bounds here are ours, see docs/transfer.md.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from visionkit.backbones import Backbone
from visionkit.data.datasets.base import VisionDataset
from visionkit.data.io.images import to_tensor
from visionkit.data.splits import labels_of
from visionkit.engine.domain_distance import domain_distance
from visionkit.errors import DataError
from visionkit.ops.ignore import IGNORE
from visionkit.preprocessing.classification import ClassificationPreprocessOptions
from visionkit.structures import Sample

LARGE_FROM = 1000
"""Examples of the median class from which a set counts as large: about what ImageNet has of a class (732 to 1,300)."""

SIMILAR_BELOW = 0.09
"""Distance below which a domain counts as similar: between photographs (.03, without color .07) and what has other
textures (.12 and more); measured with EfficientNet-Lite0 by tests/benchmarks/domain_table.py."""

LOOKED_AT = 96
"""Images whose features are compared; a third of them gives the distance to within .003."""

BATCH = 8

EXAMPLES = {"classification": "images", "detection": "objects", "segmentation": "images that have it"}
"""What is counted of a class, by task."""


@dataclass(frozen=True)
class Evidence:
    """What is known about a training set.

    Attributes:
        images: how many there are.
        examples: images (or objects) of each class, by name.
        looked_at: images of the sample that the rest tells of.
        sides: height and width in pixels, the medians of each.
        mean, std: of RGB in 0..1, of the part of the images that the network sees.
        distance: of the features, by stage of the backbone, see `domain_distance`; empty without BatchNorm.
    """

    images: int
    examples: dict[str, int]
    looked_at: int
    sides: tuple[int, int]
    mean: list[float]
    std: list[float]
    distance: dict[str, float]

    @property
    def median_examples(self) -> float:
        """Examples of the class in the middle, of those that have any."""
        held = [count for count in self.examples.values() if count]
        return float(np.median(held)) if held else 0.0

    @property
    def mean_distance(self) -> float | None:
        """Mean over the stages; None where it cannot be known."""
        return float(np.mean(list(self.distance.values()))) if self.distance else None

    @property
    def is_large(self) -> bool:
        """Whether there are examples enough to change all of a network."""
        return self.median_examples >= LARGE_FROM

    @property
    def is_similar(self) -> bool | None:
        """Whether the images look like those of the source; None where that cannot be known."""
        return None if self.mean_distance is None else self.mean_distance < SIMILAR_BELOW


def gather_evidence(reader: VisionDataset, backbone: Backbone, task: str) -> Evidence:
    """Look at a training set with a pretrained backbone.

    Args:
        reader: the training split.
        backbone: with pretrained values.
        task: classification, detection or segmentation.

    Raises:
        DataError: there are no images.
        ConfigError: the backbone holds random values.
    """
    if not len(reader):
        raise DataError("the training split has no images")
    chosen = np.random.default_rng(0).permutation(len(reader))[:LOOKED_AT]
    seen = _Seen(reader, [int(index) for index in chosen], backbone)
    distance = domain_distance(backbone, seen.batches())
    counts = seen.classes_held() * len(reader) / len(chosen) if task == "segmentation" else _counts(reader, task)
    height, width = np.median(seen.sizes, axis=0)
    return Evidence(
        images=len(reader),
        examples=dict(zip(reader.class_names, np.rint(counts).astype(int).tolist(), strict=True)),
        looked_at=len(chosen),
        sides=(int(height), int(width)),
        mean=seen.mean.tolist(),
        std=(seen.squares - seen.mean.square()).clamp_min(0).sqrt().tolist(),
        distance=distance,
    )


def task_of(reader: VisionDataset) -> str:
    """The task that a training set is meant for: objects, masks of classes, or classes of whole images."""
    if any(len(reader.annotation(index)) for index in range(len(reader))):
        return "detection"
    return "segmentation" if any(map(reader.has_semantic, range(len(reader)))) else "classification"


def native_preprocess(backbone: Backbone) -> ClassificationPreprocessOptions:
    """How ImageNet's images come to a network: short side 256 for a crop of 224, or in this proportion."""
    side = backbone.native_size
    return ClassificationPreprocessOptions(side * 8 // 7, side, list(backbone.mean), list(backbone.std))


class _Seen:
    """Goes through a sample of images once and keeps what is asked of them beside their features.

    Attributes:
        sizes: (height, width) of each.
        mean, squares: of RGB in 0..1 and of its square, float64 [3], over all pixels that the network saw.
    """

    def __init__(self, reader: VisionDataset, indices: list[int], backbone: Backbone) -> None:
        self.reader, self.indices = reader, indices
        self.preprocessing = native_preprocess(backbone).module().eval()
        self.sizes: list[tuple[int, int]] = []
        self.held: list[NDArray[np.int64]] = []
        self.mean, self.squares = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)

    def batches(self) -> Iterator[Tensor]:
        """Normalized images [B, 3, H, W]."""
        for start in range(0, len(self.indices), BATCH):
            samples = [self.reader[index] for index in self.indices[start : start + BATCH]]
            images: Tensor = self.preprocessing([to_tensor(sample.image) for sample in samples])
            normalize = self.preprocessing.normalize
            share, values = len(samples) / len(self.indices), (images * normalize.std + normalize.mean).double()
            self.mean += share * values.mean(dim=(0, 2, 3))
            self.squares += share * values.square().mean(dim=(0, 2, 3))
            self._note(samples)
            yield images

    def classes_held(self) -> NDArray[np.int64]:
        """Images whose mask has each class, int64 [K]."""
        return np.bincount(np.concatenate(self.held), minlength=len(self.reader.class_names))

    def _note(self, samples: list[Sample]) -> None:
        self.sizes += [sample.size for sample in samples]
        masks = [np.unique(sample.semantic) for sample in samples if sample.semantic is not None]
        self.held += [np.zeros(0, np.int64), *(mask[mask != IGNORE].astype(np.int64) for mask in masks)]


def _counts(reader: VisionDataset, task: str) -> NDArray[np.int64]:
    """Examples of each class, int64 [K]: objects, or images of which it holds."""
    every = range(len(reader))
    if task == "detection":
        held = [reader.annotation(index).labels for index in every]
    elif reader.label(0) is None:
        held = [tags for index in every if (tags := reader.tags(index)) is not None]
    else:
        held = [labels[labels >= 0] for labels in [labels_of(reader)]]
    return np.bincount(np.concatenate([np.zeros(0, np.int64), *held]), minlength=len(reader.class_names))
