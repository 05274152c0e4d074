"""Random augmentation of training samples with albumentations."""

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from visionkit.data.datasets.base import VisionDataset
from visionkit.data.transforms.commuting import CommutingStage, count_commuting
from visionkit.data.transforms.create import FittedTransform, create_transform
from visionkit.data.transforms.early_resize import InputSize, resize_sample
from visionkit.data.transforms.stage import Stage
from visionkit.structures import Sample


class Augmentation:
    """Random transforms of a sample: its image, boxes, masks, semantic mask and proposals together.

    Args:
        steps: transforms in order, see `create_transform` ({"name": "HorizontalFlip", "p": 0.5}).
        min_visibility: minimum share of a box's area, 0..1, that must remain after a crop to keep the object.

    Attributes:
        settings: the arguments; two augmentations with equal settings have the same transforms.

    Raises:
        ConfigError: a transform or one of its arguments is unknown or invalid.

    Example:
        >>> from visionkit.data.datasets.shapes import Shapes
        >>> from visionkit.data.transforms.augmentation import Augmentation
        >>> augmentation = Augmentation([{"name": "HorizontalFlip", "p": 1.0}])
        >>> augmentation.seed(0)
        >>> sample = Shapes(size=64)[0]
        >>> bool((augmentation(sample).image == sample.image[:, ::-1]).all())
        True
    """

    def __init__(self, steps: Sequence[Mapping[str, Any]], min_visibility: float = 0.1) -> None:
        self.settings = [dict(step) for step in steps], min_visibility
        self._transforms = [create_transform(step) for step in steps]
        first = len(steps) - count_commuting(self._transforms)
        before, after = self._transforms[:first], self._transforms[first:]
        self._whole = Stage(self._transforms, min_visibility) if steps else None
        self._before = Stage(before, min_visibility) if before else None
        self._after = CommutingStage(after) if after else None
        self.input_size: InputSize | None = None
        """Size to which an image is resized before its last transforms (`early_resize`); None resizes none."""

    def __bool__(self) -> bool:
        """Return whether there are any steps."""
        return bool(self._transforms)

    def seed(self, seed: int) -> None:
        """Seed the random generator of the transforms, which does not depend on the seeds of numpy and torch."""
        # One generator for all transforms. With albumentations' set_random_seed, every transform would have an equal
        # generator, and a horizontal and a vertical flip with p=0.5 would always occur together.
        generators = np.random.default_rng(seed % 2**32), random.Random(seed % 2**32)
        for stage in (self._whole, self._before, self._after):
            if stage is not None:
                stage.set_random_state(*generators)

    def fit(self, dataset: VisionDataset) -> None:
        """Fit the transforms that depend on the training images (`FittedTransform`); called before training."""
        for transform in self._transforms:
            if isinstance(transform, FittedTransform):
                transform.fit(dataset)

    def __call__(self, sample: Sample) -> Sample:
        """Return the augmented sample. Objects outside the new image are removed from all arrays.

        Raises:
            ConfigError: a transform cannot be applied to the image, which may be too small, or to proposals.
        """
        if self.input_size is None:
            return _applied(self._whole, sample)
        sample = resize_sample(_applied(self._before, sample), self.input_size)
        return _applied(self._after, sample)


def _applied(stage: Stage | CommutingStage | None, sample: Sample) -> Sample:
    return sample if stage is None else stage(sample)
