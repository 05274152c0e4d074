"""Map-style torch datasets of (image, target) pairs, such as those of torchvision, as `VisionDataset`s."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import VisionDataset
from visionkit.data.datasets.image_reader import ImageReader
from visionkit.data.datasets.pair_targets import PairTargets
from visionkit.data.io.image_types import as_rgb
from visionkit.errors import ConfigError, DataError
from visionkit.structures import Annotation, Color, Sample


@runtime_checkable
class PairDataset(Protocol):
    """A map-style dataset of (image, target) pairs: `torch.utils.data.Dataset` with a length, or a list."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Any: ...


class TorchPairs(ImageReader):
    """A map-style dataset of (image, target) pairs as a `VisionDataset`.

    The image is a PIL image, an array or a tensor, see `as_rgb`. The kinds of targets are those of `PairTargets`.
    The dataset must not augment or normalize, because annotations are read once and kept.

    Args:
        pairs: the dataset.
        class_names: K names in label order.
        first_label: label of the first class: 0, or 1 if label 0 is the background.
        name: name of the split, for messages.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> target = {"boxes": torch.tensor([[2.0, 3.0, 20.0, 30.0]]), "labels": torch.tensor([1])}
        >>> dataset = vk.TorchPairs([(torch.zeros(3, 48, 64), target)], ["cat", "dog"], first_label=1)
        >>> dataset.image_size(0), dataset.annotation(0).labels.tolist()
        ((48, 64), [0])
    """

    def __init__(
        self, pairs: PairDataset, class_names: Sequence[str], first_label: int = 0, name: str = "dataset"
    ) -> None:
        self.pairs, self.name = pairs, name
        self.class_names = list(class_names)
        self.category_ids = [first_label + label for label in range(len(self.class_names))]
        self.class_colors: list[Color] | None = None
        self.report: dict[str, int] = {}
        self._targets = PairTargets(len(self.class_names), first_label)
        self._annotations: dict[int, Sample] = {}

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        return self._read(index, report={})

    def image_id(self, index: int) -> int | str:
        """Return `image_id` of the target, or the index if it has none."""
        return self._annotated(index).image_id

    def annotation(self, index: int) -> Annotation:
        """See `VisionDataset`."""
        return self._annotated(index).annotation

    def image_size(self, index: int) -> tuple[int, int]:
        """See `VisionDataset`."""
        return self._annotated(index).size

    def label(self, index: int) -> int | None:
        """See `VisionDataset`."""
        return self._annotated(index).label

    def tags(self, index: int) -> NDArray[np.int64] | None:
        """See `VisionDataset`."""
        return self._annotated(index).tags

    def has_semantic(self, index: int) -> bool:
        """See `VisionDataset`."""
        return self._annotated(index).semantic is not None

    def semantic(self, index: int) -> NDArray[np.uint8] | None:
        """See `VisionDataset`."""
        return self[index].semantic

    def _annotated(self, index: int) -> Sample:
        """Return the sample without its pixels, which is read once."""
        if index not in self._annotations:
            sample = self._read(index, self.report)
            no_pixels: NDArray[np.uint8] = np.broadcast_to(np.uint8(0), sample.image.shape)
            no_mask = None if sample.semantic is None else no_pixels[..., 0]
            self._annotations[index] = replace(sample, image=no_pixels, semantic=no_mask)
        return self._annotations[index]

    def _read(self, index: int, report: dict[str, int]) -> Sample:
        name = f"{self.name}[{index}]"
        pair = self.pairs[index]
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise DataError(f"{name} is not a pair (image, target), but {type(pair).__name__}")
        sample = Sample(as_rgb(pair[0], name, self.bit_depth), index, name)
        return self._targets.annotate(sample, pair[1], report)


def as_vision_dataset(
    dataset: VisionDataset | PairDataset, name: str, class_names: Sequence[str] | None, first_label: int
) -> VisionDataset:
    """Return a dataset of pairs as a `VisionDataset`, and a `VisionDataset` unchanged.

    Args:
        dataset: the dataset.
        name: name of its split, for messages.
        class_names: K names in label order; None takes those of a `VisionDataset`.
        first_label: see `TorchPairs`.

    Raises:
        ConfigError: class names are missing or differ from those of the dataset, or the dataset is not map-style.
    """
    if isinstance(dataset, VisionDataset):
        if class_names is not None and [*class_names] != [*dataset.class_names]:
            raise ConfigError(f"{name}: class_names differ from those of the dataset: {dataset.class_names}"[:400])
        return dataset
    if not isinstance(dataset, PairDataset):
        raise ConfigError(f"{name}: {type(dataset).__name__} has no length; from_datasets takes map-style datasets")
    if not class_names or len({*class_names}) < len(class_names):
        raise ConfigError("VisionData.from_datasets needs class_names, which differ from each other, in label order")
    return TorchPairs(dataset, class_names, first_label, name)
