"""Weights that make rare classes count as much as frequent ones, from the numbers of their pictures or pixels."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from visionkit.errors import RecipeError
from visionkit.registry import Registry

kinds: Registry[Callable[[Tensor], Tensor | None]] = Registry("kind of class weights")
"""What `class_weights` knows by name; each takes the counts, float64 [K] with at least one above 0."""


def class_weights(counts: Tensor, kind: str | Sequence[float]) -> Tensor | None:
    """Weight of each class in a loss.

    Args:
        counts: [K], pictures (or pixels) of each class in the training set.
        kind: none, balanced (mean 1 over the pictures), median_frequency (1 for the class of median frequency;
            Eigen & Fergus 2015, section 6.3.2), or K numbers.

    Returns:
        float32 [K]; a class without a picture weighs 0, since there is nothing to learn it from. None for `none`.

    Raises:
        RecipeError: not K numbers, one that is negative, or no picture at all.
    """
    if not isinstance(kind, str):
        return _given(kind, len(counts))
    if kind != "none" and not counts.any():
        raise RecipeError(f"class_weights: {kind} needs pictures with classes, and there is none")
    weights = kinds.get(kind)(counts.double())
    return None if weights is None else weights.nan_to_num(nan=0.0, posinf=0.0).float()


@kinds.register("none")
def _none(counts: Tensor) -> None:
    return None


@kinds.register("balanced")
def _balanced(counts: Tensor) -> Tensor:
    return counts.sum() / ((counts > 0).sum() * counts)


@kinds.register("median_frequency")
def _median_frequency(counts: Tensor) -> Tensor:
    return counts[counts > 0].quantile(0.5) / counts


def _given(weights: Sequence[float], classes: int) -> Tensor:
    if len(weights) != classes or min(weights) < 0:
        raise RecipeError(f"class_weights needs {classes} numbers of at least 0, one a class, not {list(weights)}")
    return torch.tensor(weights, dtype=torch.float32)
