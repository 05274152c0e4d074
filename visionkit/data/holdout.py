"""Part of a data set kept aside for validation, and the reader of such a part."""

import numpy as np
from numpy.typing import NDArray

from visionkit.errors import ConfigError

Indices = NDArray[np.int64]


def stratified_holdout(labels: Indices, fraction: float, seed: int) -> tuple[Indices, Indices]:
    """Split images in two so that each class gives the same share.

    Args:
        labels: int64 [N], class of each image; those without one (-1) are split like a class of their own.
        fraction: share that is held out, above 0 and below 1.
        seed: another seed holds out other images.

    Returns:
        Indices kept and indices held out, each rising. A class of two images or more has at least one in both;
        one of a single image is kept.

    Raises:
        ConfigError: the fraction is out of its range, or nothing can be held out.
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
    """How many of `count` are held out: rounded, but at least one where there are two, and never all."""
    return min(max(round(count * fraction), 1), count - 1)


def block_fold(count: int, folds: int | None, fold: int, held_out: bool) -> Indices:
    """The images of one part of a cross-validation in blocks of neighbors.

    Neighbours are often alike (slices of one volume, frames of one film): drawn at random, half of a validation set
    would have its like in training.

    Args:
        count: number of images.
        folds: number of blocks; None takes all images.
        fold: which block is held out, from 0.
        held_out: whether to take that block, or all others.

    Returns:
        Their indices, rising.

    Raises:
        ConfigError: there is no such block, or `fold` or `held_out` say something of blocks where there are none.
    """
    if folds is None:
        if fold or held_out:
            raise ConfigError(f"fold={fold} and held_out={held_out} need folds, the number of blocks to split into")
        return np.arange(count)
    if not 2 <= folds <= count or not 0 <= fold < folds:
        raise ConfigError(f"fold {fold} of {folds} with {count} images: folds is 2 to {count}, fold from 0")
    blocks = np.array_split(np.arange(count), folds)
    return blocks[fold] if held_out else np.concatenate([*blocks[:fold], *blocks[fold + 1 :]])
