"""Batches: samples as tensors, and the initialization of DataLoader workers."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from visionkit.data.datasets.base import VisionDataset
from visionkit.data.datasets.sharded import prefetch
from visionkit.data.io.images import to_tensor
from visionkit.data.proposals.proposal_source import ProposalSource
from visionkit.data.samplers import NO_IMAGE, SeededImage
from visionkit.data.transforms.augmentation import Augmentation
from visionkit.structures import Sample, Target


class Batch(NamedTuple):
    """Images uint8 [3, H, W] of any size, and one target each, see `to_target`.

    With cached features, `images` are feature maps of a frozen backbone, float [C, h, w]; see `cached_features`.
    """

    images: list[Tensor]
    targets: list[Target]

    @property
    def image_ids(self) -> list[int | str]:
        """The dataset's own ids of the images."""
        return [target["image_id"] for target in self.targets]

    @property
    def holds_features(self) -> bool:
        """Whether `images` are feature maps."""
        return self.images[0].is_floating_point()


class TargetDataset(Dataset[tuple[Tensor, Target] | None]):
    """A `VisionDataset` as tensors, with proposals and augmentation if these are given."""

    def __init__(
        self,
        dataset: VisionDataset,
        augmentation: Augmentation | None = None,
        proposals: ProposalSource | None = None,
    ) -> None:
        self.dataset, self.augmentation, self.proposals = dataset, augmentation, proposals

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, key: int | SeededImage) -> tuple[Tensor, Target] | None:
        index = key.number if isinstance(key, SeededImage) else key
        if index == NO_IMAGE:
            return None
        if isinstance(key, SeededImage) and key.ahead != NO_IMAGE:
            prefetch(self.dataset, key.ahead)
        sample = self.dataset[index]
        if self.proposals is not None:
            sample.proposals = self.proposals(sample.image, sample.image_id)
        if self.augmentation is not None:
            self.augmentation.seed(augmentation_seed(key))
            size, sample = sample.size, self.augmentation(sample)
            return to_tensor(sample.image), {**to_target(sample), "size": size}
        return to_tensor(sample.image), to_target(sample)


def augmentation_seed(key: int | SeededImage) -> int:
    """Return the seed of a key. Without a seed, one is drawn from torch's generator."""
    return key.seed if isinstance(key, SeededImage) else int(torch.randint(2**32, ()))


def to_target(sample: Sample) -> Target:
    """Return the annotation of a sample as tensors, for networks and metrics.

    Returns:
        boxes float32 [N, 4], labels int64 [N], crowd and difficult bool [N], area float32 [N], image_id,
        size (height, width), and if the sample has them masks (RLE, a list of N), label (int), tags
        (int64, any number), proposals (float32 [P, 4]), semantic (uint8 [H, W], class of each pixel, 255 = ignore)
        and heads (tuple of names).
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
    if sample.label is not None:
        target["label"] = sample.label
    if sample.tags is not None:
        target["tags"] = torch.from_numpy(sample.tags)
    if sample.proposals is not None:
        target["proposals"] = torch.from_numpy(sample.proposals)
    if sample.semantic is not None:
        target["semantic"] = torch.from_numpy(np.ascontiguousarray(sample.semantic))
    if sample.heads:
        target["heads"] = sample.heads
    return target


def collate(items: list[tuple[Tensor, Target] | None]) -> Batch:
    """Return samples as a batch; images keep their own sizes. None, for `NO_IMAGE`, is left out."""
    found = [item for item in items if item is not None]
    return Batch([image for image, _ in found], [target for _, target in found])


def initialize_worker(worker: int) -> None:
    """Initialize worker number `worker` of a DataLoader."""
    import cv2

    cv2.setNumThreads(0)  # a thread pool in every worker would fight over the cores
