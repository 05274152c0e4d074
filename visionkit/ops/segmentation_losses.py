"""Losses of semantic segmentation. Pixels of class 255 are ignored; without any other pixel a loss is 0."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from visionkit.ops.ignore import IGNORE
from visionkit.registry import Registry


class Settings(NamedTuple):
    """Parameters of single losses.

    Attributes:
        gamma: exponent of `focal`, which lowers the loss of well classified pixels (Lin 2017: 2).
        hard_fraction: share of an image's pixels that `bootstrapped` uses.
    """

    gamma: float = 2.0
    hard_fraction: float = 0.25


Loss = Callable[[Tensor, Tensor, Tensor | None, Settings], Tensor]

losses: Registry[Loss] = Registry("segmentation loss")
"""Losses by name: functions of logits, float32 [B, K, H, W], classes, int64 [B, H, W], class weights, float32 [K] or
None, and settings, which return a scalar."""

register_loss = losses.register


def segmentation_loss(
    logits: Tensor,
    classes: Tensor,
    terms: Mapping[str, float],
    class_weights: Tensor | None = None,
    settings: Settings | None = None,
) -> Tensor:
    """Compute a weighted sum of losses, in float32 under any precision of the trainer.

    Args:
        logits: [B, K, H, W].
        classes: int64 [B, H, W], 0..K-1 or 255.
        terms: names of the losses and their weights.
        class_weights: float32 [K].
        settings: parameters of the single losses.

    Raises:
        ConfigError: a loss does not exist.
    """
    with torch.autocast(logits.device.type, enabled=False):
        values = [
            weight * losses.get(name)(logits.float(), classes, class_weights, settings or Settings())
            for name, weight in terms.items()
        ]
        return torch.stack(values).sum()


@losses.register("cross_entropy")
def cross_entropy(logits: Tensor, classes: Tensor, class_weights: Tensor | None, settings: Settings) -> Tensor:
    """Compute the mean cross-entropy of the pixels, with class weights (Long 2015; weights: Eigen & Fergus 2015)."""
    return _mean(_surprise(logits, classes), _pixel_weights(classes, class_weights))


@losses.register("focal")
def focal(logits: Tensor, classes: Tensor, class_weights: Tensor | None, settings: Settings) -> Tensor:
    """Compute the mean of -(1 - p) ** gamma * log(p) with the true class's probability p (Lin 2017, equation 4)."""
    surprise = _surprise(logits, classes)
    doubt = (1 - torch.exp(-surprise)).clamp(min=1e-6)  # the gradient of a root is infinite at 0 (ignored pixels)
    return _mean(doubt**settings.gamma * surprise, _pixel_weights(classes, class_weights))


@losses.register("bootstrapped")
def bootstrapped(logits: Tensor, classes: Tensor, class_weights: Tensor | None, settings: Settings) -> Tensor:
    """Compute the mean cross-entropy of the pixels with the highest loss in each image (Pohlen 2016, equation 8)."""
    weighted = (_surprise(logits, classes) * _pixel_weights(classes, class_weights)).flatten(1)
    most = max(round(settings.hard_fraction * weighted.shape[1]), 1)
    valid = (classes != IGNORE).flatten(1).sum(1)
    return weighted.topk(most, dim=1).values.sum() / valid.clamp(max=most).sum().clamp(min=1)


@losses.register("dice")
def dice(logits: Tensor, classes: Tensor, class_weights: Tensor | None, settings: Settings) -> Tensor:
    """Compute the mean of 1 - 2 |P ∩ T| / (|P| + |T|) over the classes in the batch (Milletari 2016).

    P are the predicted probabilities, and T are the pixels of the class.
    """
    both, said, there = _overlap(logits, classes)
    return _mean_of_present(1 - 2 * both / (said + there).clamp(min=1e-6), there, class_weights)


@losses.register("jaccard")
def jaccard(logits: Tensor, classes: Tensor, class_weights: Tensor | None, settings: Settings) -> Tensor:
    """Compute the mean of 1 - |P ∩ T| / |P ∪ T| over the classes in the batch (Rahman & Wang 2016).

    P are the predicted probabilities, and T are the pixels of the class.
    """
    both, said, there = _overlap(logits, classes)
    return _mean_of_present(1 - both / (said + there - both).clamp(min=1e-6), there, class_weights)


def _surprise(logits: Tensor, classes: Tensor) -> Tensor:
    """Return -log(p) of each pixel's true class [B, H, W], 0 for ignored pixels."""
    return functional.cross_entropy(logits, classes, ignore_index=IGNORE, reduction="none")


def _pixel_weights(classes: Tensor, class_weights: Tensor | None) -> Tensor:
    """Return the weight of each pixel [B, H, W], 0 for ignored pixels."""
    valid = classes != IGNORE
    if class_weights is None:
        return valid.float()
    return class_weights[classes.where(valid, 0)] * valid


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1e-6)


def _overlap(logits: Tensor, classes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return three sums over the batch for each class, each [K].

    They are the probability over the pixels of the class, the probability over all valid pixels, and the number of
    pixels of the class.
    """
    valid = classes != IGNORE
    true = classes.where(valid, 0)
    probabilities = logits.softmax(1) * valid[:, None]
    of_true = probabilities.gather(1, true[:, None])
    none = probabilities.new_zeros(logits.shape[1])
    both, there = (none.index_add(0, true.flatten(), each.flatten()) for each in (of_true, valid.to(none.dtype)))
    return both, probabilities.sum((0, 2, 3)), there


def _mean_of_present(values: Tensor, there: Tensor, class_weights: Tensor | None) -> Tensor:
    weights = (there > 0).float() if class_weights is None else class_weights * (there > 0)
    return _mean(values, weights)
