"""What a network learns from a mask of classes. Pixels of class 255 teach nothing; where there are no others: 0."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from visionkit.ops.ignore import IGNORE
from visionkit.registry import Registry


class Settings(NamedTuple):
    """Numbers of single losses.

    Attributes:
        gamma: how strongly `focal` turns to what is wrong (Lin 2017: 2).
        hardest: share of an image's pixels that `bootstrapped` learns from.
    """

    gamma: float = 2.0
    hardest: float = 0.25


Loss = Callable[[Tensor, Tensor, Tensor | None, Settings], Tensor]

losses: Registry[Loss] = Registry("segmentation loss")
"""Called with float32 logits [B, K, H, W], classes int64 [B, H, W], weights of the classes float32 [K] or None, and
settings; each gives a scalar."""

register_loss = losses.register


def segmentation_loss(
    logits: Tensor,
    classes: Tensor,
    terms: Mapping[str, float],
    class_weights: Tensor | None = None,
    settings: Settings | None = None,
) -> Tensor:
    """A weighted sum of losses, in float32 under any precision.

    Args:
        logits: [B, K, H, W].
        classes: int64 [B, H, W], 0..K-1 or 255.
        terms: names of losses and their weights.
        class_weights: float32 [K].
        settings: of the single losses.

    Raises:
        ConfigError: a loss that does not exist.
    """
    with torch.autocast(logits.device.type, enabled=False):
        values = [
            weight * losses.get(name)(logits.float(), classes, class_weights, settings or Settings())
            for name, weight in terms.items()
        ]
        return torch.stack(values).sum()


@losses.register("cross_entropy")
def cross_entropy(logits: Tensor, classes: Tensor, class_weights: Tensor | None, settings: Settings) -> Tensor:
    """The mean over the pixels, weighted by their classes (Long 2015; Eigen & Fergus 2015 for the weights)."""
    return _mean(_surprise(logits, classes), _pixel_weights(classes, class_weights))


@losses.register("focal")
def focal(logits: Tensor, classes: Tensor, class_weights: Tensor | None, settings: Settings) -> Tensor:
    """Cross-entropy times (1 - p) ** gamma, where p is the probability of the true class (Lin 2017, equation 4)."""
    surprise = _surprise(logits, classes)
    doubt = (1 - torch.exp(-surprise)).clamp(min=1e-6)  # a root has no slope at 0, where void is
    return _mean(doubt**settings.gamma * surprise, _pixel_weights(classes, class_weights))


@losses.register("bootstrapped")
def bootstrapped(logits: Tensor, classes: Tensor, class_weights: Tensor | None, settings: Settings) -> Tensor:
    """Cross-entropy over the pixels of each image that surprise most (Pohlen 2016, equation 8)."""
    weighted = (_surprise(logits, classes) * _pixel_weights(classes, class_weights)).flatten(1)
    most = max(round(settings.hardest * weighted.shape[1]), 1)
    valid = (classes != IGNORE).flatten(1).sum(1)
    return weighted.topk(most, dim=1).values.sum() / valid.clamp(max=most).sum().clamp(min=1)


@losses.register("dice")
def dice(logits: Tensor, classes: Tensor, class_weights: Tensor | None, settings: Settings) -> Tensor:
    """1 - 2 |P ∩ T| / (|P| + |T|) with probabilities for P, the mean over the classes there are (Milletari 2016)."""
    both, said, there = _overlap(logits, classes)
    return _mean_of_present(1 - 2 * both / (said + there).clamp(min=1e-6), there, class_weights)


@losses.register("jaccard")
def jaccard(logits: Tensor, classes: Tensor, class_weights: Tensor | None, settings: Settings) -> Tensor:
    """1 - |P ∩ T| / |P ∪ T| with probabilities for P, the mean over the classes there are (Rahman & Wang 2016)."""
    both, said, there = _overlap(logits, classes)
    return _mean_of_present(1 - both / (said + there - both).clamp(min=1e-6), there, class_weights)


def _surprise(logits: Tensor, classes: Tensor) -> Tensor:
    """-log p of each pixel's class [B, H, W], 0 for pixels that are ignored."""
    return functional.cross_entropy(logits, classes, ignore_index=IGNORE, reduction="none")


def _pixel_weights(classes: Tensor, class_weights: Tensor | None) -> Tensor:
    """Weight of each pixel [B, H, W], 0 for those that are ignored."""
    valid = classes != IGNORE
    if class_weights is None:
        return valid.float()
    return class_weights[classes.where(valid, 0)] * valid


def _mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1e-6)


def _overlap(logits: Tensor, classes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For each class [K], over the batch: probability where it is true, probability in all, pixels where it is true."""
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
