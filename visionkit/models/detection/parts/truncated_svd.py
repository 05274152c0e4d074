"""Fully connected layers that truncated SVD makes faster in evaluation (Girshick 2015, section 3.1)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from visionkit.errors import ConfigError
from visionkit.models.detection.parts.box_head import TwoLayerHead


class Factors(NamedTuple):
    """Factors of a matrix [N, M] of rank t: `outer` [N, t] times `inner` [t, M]."""

    outer: Tensor
    inner: Tensor


def truncated_svd(weight: Tensor, rank: int) -> Factors:
    """Return the factors of the best approximation of `weight` [N, M] with the given rank.

    The columns of `outer` are eigenvectors of the N x N product of the matrix with its transpose. For fc6 of VGG they
    take seconds, and the full decomposition takes minutes.
    """
    matrix = weight.detach().double()
    largest = torch.linalg.eigh(matrix @ matrix.T).eigenvectors[:, -rank:]
    return Factors(largest.to(weight.dtype), (largest.T @ matrix).to(weight.dtype))


class TruncatedHead(TwoLayerHead):
    """A `TwoLayerHead` that uses factors of its layers in evaluation. Training and checkpoints use the full layers.

    Args:
        head: its layers are used.
        ranks: ranks of fc6 and fc7.

    Raises:
        ConfigError: a rank is below 1, or so large that the factors are slower than the layer.
    """

    def __init__(self, head: TwoLayerHead, ranks: Sequence[int]) -> None:
        nn.Module.__init__(self)
        self.fc6, self.fc7, self.dropout = head.fc6, head.fc7, head.dropout
        max_ranks = [_max_rank(layer.in_features, layer.out_features) for layer in (self.fc6, self.fc7)]
        if len(ranks) != 2 or not all(0 < rank <= bound for rank, bound in zip(ranks, max_ranks, strict=True)):
            raise ConfigError(
                f"svd={list(ranks)}: give the ranks of fc6 and fc7, from 1 to {max_ranks[0]} and {max_ranks[1]}; "
                "larger ones would be slower than the full layers"
            )
        self.ranks = tuple(ranks)
        self._factors: list[Factors] = []
        self.register_load_state_dict_post_hook(TruncatedHead._clear_factors)

    def train(self, mode: bool = True) -> "TruncatedHead":
        """Set the mode. The factors are computed again when they are needed."""
        self._clear_factors()
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        """Return [R, channels] of pooled maps [R, C, h, w]."""
        if self.training:
            return super().forward(x)
        if not self._factors or not _same_device_and_dtype(self._factors[0].outer, self.fc6.weight):
            layers = zip((self.fc6, self.fc7), self.ranks, strict=True)
            # Factors made in inference mode could not be used in a later call with gradients.
            with torch.inference_mode(False):
                self._factors = [truncated_svd(layer.weight, rank) for layer, rank in layers]
        x = x.flatten(start_dim=1)
        for layer, (outer, inner) in zip((self.fc6, self.fc7), self._factors, strict=True):
            x = functional.relu(functional.linear(functional.linear(x, inner), outer, layer.bias))
        return x

    def _clear_factors(self, *_: Any) -> None:
        self._factors = []


def _max_rank(inputs: int, outputs: int) -> int:
    """Return the largest rank t for which t (inputs + outputs) multiplications are fewer than inputs x outputs."""
    return (inputs * outputs - 1) // (inputs + outputs)


def _same_device_and_dtype(first: Tensor, second: Tensor) -> bool:
    return (first.device, first.dtype) == (second.device, second.dtype)
