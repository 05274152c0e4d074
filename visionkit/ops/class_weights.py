"""Class weights for a loss, computed from the numbers of images or pixels of the classes."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from visionkit.errors import ConfigError
from visionkit.registry import Registry

kinds: Registry[Callable[[Tensor, Tensor], Tensor | None]] = Registry("kind of class weights")
"""Kinds of `class_weights` by name; each is a function of `counts` and `out_of`, both float64 [K]."""


def class_weights(counts: Tensor, kind: str | Sequence[float], out_of: Tensor | None = None) -> Tensor | None:
    """Compute the weight of each class in a loss.

    Args:
        counts: [K], number of images (or pixels) of each class in the training set.
        kind: "none", "balanced" (N / (K n), with mean 1 over the images; King & Zeng 2001), "median_frequency" (1 for
            the class of median frequency; Eigen & Fergus 2015, section 6.3.2), or K numbers.
        out_of: [K], number of pixels of the images that contain the class. "median_frequency" divides `counts` by it.
            None takes the same number for all classes, for images that have one class each.

    Returns:
        float32 [K], finite; None for "none". A class without an image has the weight 0, because it has no training
        data. The other classes are weighted as if it did not exist.

    Raises:
        ConfigError: the kind is unknown, the numbers are not K, a number is negative or not finite, or there is no
            image.
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
