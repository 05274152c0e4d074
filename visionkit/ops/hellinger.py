"""Elementwise distances between normal distributions."""

import torch
from torch import Tensor


def squared_hellinger(mean: Tensor, variance: Tensor, other_mean: Tensor, other_variance: Tensor) -> Tensor:
    """Compute the squared Hellinger distance of N(mean, variance) and N(other_mean, other_variance).

    The distance is 1 - sqrt(2 s t / (s^2 + t^2)) exp(-(m - n)^2 / (4 (s^2 + t^2))), where m and n are the means, and s
    and t are the standard deviations. It is symmetric, 0 for equal distributions, and 1 for distributions without
    overlap. Unlike the Kullback-Leibler divergence it is bounded, so a channel of very small variance cannot dominate.

    Args:
        mean: means of the first distributions, of any shape.
        variance: variances of the first distributions, at least 0, of the same shape.
        other_mean: means of the second distributions, of the same shape.
        other_variance: variances of the second distributions, at least 0, of the same shape.

    Returns:
        Distances in 0..1, of the same shape. If both variances are 0, the distance is 0 for equal means, else 1.
    """
    total = variance + other_variance
    known = total.clamp_min(torch.finfo(total.dtype).tiny)
    spread = (2 * (variance * other_variance).sqrt() / known).sqrt()
    overlap = spread * torch.exp(-((mean - other_mean) ** 2) / (4 * known))
    return torch.where(total > 0, 1 - overlap, (mean != other_mean).to(overlap)).clamp(0, 1)
