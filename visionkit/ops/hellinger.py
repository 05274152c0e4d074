"""Distances between normal distributions, for each entry of a pair of tensors."""

import torch
from torch import Tensor


def squared_hellinger(mean: Tensor, variance: Tensor, other_mean: Tensor, other_variance: Tensor) -> Tensor:
    """Squared Hellinger distance of N(mean, variance) and N(other_mean, other_variance).

    1 - sqrt(2 s t / (s^2 + t^2)) exp(-(m - n)^2 / (4 (s^2 + t^2))), s and t the standard deviations: symmetric, 0 for
    equal distributions, 1 for such that share nothing. Unlike the Kullback-Leibler divergence it is bounded, so one
    channel of hardly any variance cannot outweigh the others.

    Args:
        mean: of the first, of any shape.
        variance: likewise, at least 0.
        other_mean: of the second, of that shape.
        other_variance: likewise.

    Returns:
        Distances in 0..1 of that shape; where both variances are 0, whether the means differ.
    """
    total = variance + other_variance
    known = total.clamp_min(torch.finfo(total.dtype).tiny)
    spread = (2 * (variance * other_variance).sqrt() / known).sqrt()
    overlap = spread * torch.exp(-((mean - other_mean) ** 2) / (4 * known))
    return torch.where(total > 0, 1 - overlap, (mean != other_mean).to(overlap)).clamp(0, 1)
