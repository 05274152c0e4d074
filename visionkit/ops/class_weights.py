"""Weights that make rare classes count as much as frequent ones, from the numbers of their images or pixels."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from visionkit.errors import ConfigError
from visionkit.registry import Registry

kinds: Registry[Callable[[Tensor, Tensor], Tensor | None]] = Registry("kind of class weights")
"""What `class_weights` knows by name; each takes `counts` and `out_of`, both float64 [K]."""


def class_weights(counts: Tensor, kind: str | Sequence[float], out_of: Tensor | None = None) -> Tensor | None:
    """Weight of each class in a loss.

    Args:
        counts: [K], images (or pixels) of each class in the training set.
        kind: none, balanced (N / (K n), mean 1 over the images; King & Zeng 2001), median_frequency (1 for the
            class of median frequency; Eigen & Fergus 2015, section 6.3.2), or K numbers.
        out_of: [K], what median_frequency divides `counts` by: pixels of the images that have the class. None
            takes the same for all, as where each image has one class.

    Returns:
        float32 [K], finite; a class without an image weighs 0, since there is nothing to learn it from, and the
        others are weighted as if it did not exist. None for `none`.

    Raises:
        ConfigError: an unknown kind, not K numbers, one that is negative or not finite, or no image at all.
    """
    if not isinstance(kind, str):
        return _given(kind, len(counts))
    weigh = kinds.get(kind)
    if weigh is not _none and not counts.any():
        raise ConfigError(f"class_weights: {kind} needs images with classes, and there is none")
    weights = weigh(counts.double(), torch.ones(len(counts)).double() if out_of is None else out_of.double())
    return None if weights is None else weights.where(counts > 0, 0).float()


@kinds.register("none")
def _none(counts: Tensor, out_of: Tensor) -> None:
    return None


@kinds.register("balanced")
def _balanced(counts: Tensor, out_of: Tensor) -> Tensor:
    return counts.sum() / ((counts > 0).sum() * counts)


@kinds.register("median_frequency")
def _median_frequency(counts: Tensor, out_of: Tensor) -> Tensor:
    frequency = counts / out_of
    return frequency[counts > 0].quantile(0.5) / frequency


def _given(weights: Sequence[float], classes: int) -> Tensor:
    if len(weights) != classes or not all(0 <= weight < math.inf for weight in weights):
        raise ConfigError(f"class_weights needs {classes} numbers of at least 0, one a class, not {list(weights)}")
    return torch.tensor(weights, dtype=torch.float32)
