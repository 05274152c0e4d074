"""Statistics of a training set that determine how to transfer a pretrained backbone to it.

They are the number of examples per class and the distance to the training data of the backbone. Stanford's course
CS231n ("Transfer Learning", when and how to fine-tune) distinguishes four cases by these two statistics. The course
gives no numbers. The two thresholds used here are explained in docs/transfer.md.
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
from visionkit.data.splits import read_labels
from visionkit.engine.domain_distance import domain_distance
from visionkit.errors import DataError
from visionkit.ops.ignore import IGNORE
from visionkit.preprocessing.classification import ClassificationPreprocessOptions
from visionkit.structures import Sample

LARGE_FROM = 1000
"""Smallest number of examples of the median class in a large dataset. ImageNet has 732 to 1,300 per class."""

SIMILAR_BELOW = 0.09
"""Distance below which a domain is similar. Photographs have 0.03, gray photographs 0.07, and other textures at
least 0.12, measured with EfficientNet-Lite0 by tests/benchmarks/domain_table.py."""

SAMPLE_SIZE = 96
"""Number of images whose features are compared. A third of them changes the distance by less than 0.003."""

BATCH = 8

EXAMPLES = {"classification": "images", "detection": "objects", "segmentation": "images that have it"}
"""Name of the examples that are counted per class, by task."""


@dataclass(frozen=True)
class TransferStatistics:
    """Statistics of a training set.

    Attributes:
        images: number of images.
        examples: number of images or objects of each class, by class name.
        sample_size: number of images that the other statistics are computed from.
        median_size: median height and median width in pixels.
        mean, std: mean and standard deviation of RGB in 0..1, over the crop of each image that the network gets.
        distance: distance of the features by stage of the backbone; see `domain_distance`. Empty without BatchNorm.

    Example:
        >>> from visionkit.engine.transfer_statistics import TransferStatistics
        >>> statistics = TransferStatistics(
        ...     30, {"cat": 10, "dog": 20}, 30, (480, 640), [0.5] * 3, [0.2] * 3, {"s4": 0.1, "s8": 0.02}
        ... )
        >>> statistics.median_examples, statistics.is_large, statistics.is_similar
        (15.0, False, True)
    """

    images: int
    examples: dict[str, int]
    sample_size: int
    median_size: tuple[int, int]
    mean: list[float]
    std: list[float]
    distance: dict[str, float]

    @property
    def median_examples(self) -> float:
        """Median number of examples over the classes that have examples."""
        counts = [count for count in self.examples.values() if count]
        return float(np.median(counts)) if counts else 0.0

    @property
    def mean_distance(self) -> float | None:
        """Mean distance over the stages; None without BatchNorm."""
        return float(np.mean(list(self.distance.values()))) if self.distance else None

    @property
    def is_large(self) -> bool:
        """Whether there are enough examples to train all layers."""
        return self.median_examples >= LARGE_FROM

    @property
    def is_similar(self) -> bool | None:
        """Whether the images are similar to the training data of the backbone; None without BatchNorm."""
        return None if self.mean_distance is None else self.mean_distance < SIMILAR_BELOW


def transfer_statistics(dataset: VisionDataset, backbone: Backbone, task: str) -> TransferStatistics:
    """Return the statistics of a training set for a pretrained backbone.

    Args:
        dataset: the training split.
        backbone: backbone with pretrained weights.
        task: classification, detection or segmentation.

    Raises:
        DataError: there are no images.
        ConfigError: the backbone is randomly initialized.
    """
    if not len(dataset):
        raise DataError("the training split has no images")
    chosen = np.random.default_rng(0).permutation(len(dataset))[:SAMPLE_SIZE]
    sample = _SampledImages(dataset, [int(index) for index in chosen], backbone)
    distance = domain_distance(backbone, sample.batches())
    scale = len(dataset) / len(chosen)  # only the masks of the sample are read
    counts = sample.images_per_class() * scale if task == "segmentation" else _examples_per_class(dataset, task)
    height, width = np.median(sample.sizes, axis=0)
    return TransferStatistics(
        images=len(dataset),
        examples=dict(zip(dataset.class_names, np.rint(counts).astype(int).tolist(), strict=True)),
        sample_size=len(chosen),
        median_size=(int(height), int(width)),
        mean=sample.mean.tolist(),
        std=(sample.squares - sample.mean.square()).clamp_min(0).sqrt().tolist(),
        distance=distance,
    )


def native_preprocess(backbone: Backbone) -> ClassificationPreprocessOptions:
    """Return ImageNet's preprocessing for a network: short side 256 for a crop of 224, and in proportion otherwise."""
    side = backbone.native_size
    return ClassificationPreprocessOptions(side * 8 // 7, side, list(backbone.mean), list(backbone.std))


class _SampledImages:
    """Sample of images, whose sizes, colors and classes are accumulated while its batches are read.

    Attributes:
        sizes: (height, width) of each image.
        classes: classes in the mask of each image with a mask.
        mean, squares: mean of RGB in 0..1 and mean of its square, float64 [3], over all pixels that the network gets.
    """

    def __init__(self, dataset: VisionDataset, indices: list[int], backbone: Backbone) -> None:
        self.dataset, self.indices = dataset, indices
        self.preprocessing = native_preprocess(backbone).module().eval()
        self.sizes: list[tuple[int, int]] = []
        self.classes: list[NDArray[np.int64]] = []
        self.mean, self.squares = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)

    def batches(self) -> Iterator[Tensor]:
        """Yield normalized images [B, 3, H, W]."""
        for start in range(0, len(self.indices), BATCH):
            samples = [self.dataset[index] for index in self.indices[start : start + BATCH]]
            images: Tensor = self.preprocessing([to_tensor(sample.image) for sample in samples])
            normalize = self.preprocessing.normalize
            share, values = len(samples) / len(self.indices), (images * normalize.std + normalize.mean).double()
            self.mean += share * values.mean(dim=(0, 2, 3))
            self.squares += share * values.square().mean(dim=(0, 2, 3))
            self._add(samples)
            yield images

    def images_per_class(self) -> NDArray[np.int64]:
        """Return the number of images whose mask contains each class, int64 [K]."""
        return _count(self.classes, len(self.dataset.class_names))

    def _add(self, samples: list[Sample]) -> None:
        self.sizes += [sample.size for sample in samples]
        masks = [np.unique(sample.semantic) for sample in samples if sample.semantic is not None]
        self.classes += [mask[mask != IGNORE].astype(np.int64) for mask in masks]


def _examples_per_class(dataset: VisionDataset, task: str) -> NDArray[np.int64]:
    """Return the number of objects or images of each class, int64 [K]."""
    indices = range(len(dataset))
    if task == "detection":
        labels = [dataset.annotation(index).labels for index in indices]
    elif dataset.label(0) is None:
        labels = [tags for index in indices if (tags := dataset.tags(index)) is not None]
    else:
        labels = [of_images[of_images >= 0] for of_images in [read_labels(dataset)]]
    return _count(labels, len(dataset.class_names))


def _count(labels: list[NDArray[np.int64]], num_classes: int) -> NDArray[np.int64]:
    return np.bincount(np.concatenate([np.zeros(0, np.int64), *labels]), minlength=num_classes)
