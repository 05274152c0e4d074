"""Selection of the part of a dataset that is held out for validation."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visionkit.data.holdout_groups import AUTO
from visionkit.errors import ConfigError
from visionkit.option_checks import check_at_least, check_between

Indices = NDArray[np.int64]


@dataclass
class HoldoutOptions:
    """Part of the training split that is held out for validation, for data without a `val` split.

    Attributes:
        fraction: share of the images (of each class, if images have one), above 0 and below 1.
        seed: seed of the selection, 0 or more.
        groups: which images stay together, such as the frames of a video: auto tells it from the file names, or else
            from the images (see `find_copies`), none takes each image alone, and a regular expression finds the name of
            the group; see `find_groups`.

    Raises:
        ConfigError: a number is out of its range.

    Example:
        >>> import visionkit as vk
        >>> splits = {"train": {"count": 100, "size": 64}}
        >>> data = vk.VisionData("shapes", splits=splits, holdout=vk.HoldoutOptions(fraction=0.3))
        >>> len(data.dataset("train")), len(data.dataset("val"))
        (70, 30)
    """

    fraction: float = 0.2
    seed: int = 0
    groups: str = AUTO

    def __post_init__(self) -> None:
        check_between(0, 1, fraction=self.fraction)
        check_at_least(0, seed=self.seed)


def stratified_holdout(labels: Indices, fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Split images into two parts, with the same share of each class held out.

    Args:
        labels: int64 [N], class of each image; images without a class (-1) are treated as one more class.
        fraction: share of the images that is held out, above 0 and below 1.
        seed: seed of the selection.

    Returns:
        Indices of the images that are kept and of those that are held out, each in ascending order. A class with at
        least two images has at least one in each part. The image of a class with a single image is kept.

    Raises:
        ConfigError: the fraction is out of range, or no image can be held out.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"holdout.fraction is {fraction}, and must be above 0 and below 1")
    random = np.random.default_rng(seed)
    held_out = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        held_out[members[: _share(len(members), fraction)]] = True
    if not held_out.any():
        raise ConfigError(f"holdout: of {len(labels)} images none can be held out, every class has but one")
    return np.flatnonzero(~held_out), np.flatnonzero(held_out)


def _share(count: int, fraction: float) -> int:
    """Return how many of `count` images are held out: rounded, at least one of two or more, and never all."""
    return min(max(round(count * fraction), 1), count - 1)


def block_fold(count: int, folds: int | None, fold: int, held_out: bool) -> Indices:
    """Return the images of one fold of a cross-validation whose folds are blocks of neighboring images.

    Neighboring images are often similar (slices of one volume, frames of one video). With random folds, half of the
    validation images would have a similar image in the training set.

    Args:
        count: number of images.
        folds: number of blocks; None takes all images.
        fold: index of the block that is held out, from 0.
        held_out: whether to return that block instead of all others.

    Returns:
        Indices of the images, in ascending order.

    Raises:
        ConfigError: the block does not exist, or `fold` or `held_out` is given without `folds`.
    """
    if folds is None:
        if fold or held_out:
            raise ConfigError(f"fold={fold} and held_out={held_out} need folds, the number of blocks to split into")
        return np.arange(count)
    if not 2 <= folds <= count or not 0 <= fold < folds:
        raise ConfigError(f"fold {fold} of {folds} with {count} images: folds is 2 to {count}, fold from 0")
    blocks = np.array_split(np.arange(count), folds)
    return blocks[fold] if held_out else np.concatenate([*blocks[:fold], *blocks[fold + 1 :]])
