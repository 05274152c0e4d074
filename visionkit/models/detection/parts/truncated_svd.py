"""Fully connected layers made smaller for testing by truncated SVD (Girshick 2015, section 3.1)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from visionkit.errors import ConfigError
from visionkit.models.detection.parts.box_head import TwoLayerHead


class Factors(NamedTuple):
    """A matrix [N, M] as a product: `outer` [N, t] times `inner` [t, M]."""

    outer: Tensor
    inner: Tensor


def truncated_svd(weight: Tensor, rank: int) -> Factors:
    """The product of this rank that is nearest to `weight` [N, M].

    Its columns are taken from the eigenvectors of the N x N product of the matrix with itself: for VGG's fc6 that takes
    seconds where the whole decomposition takes minutes.
    """
    values = weight.detach().double()
    largest = torch.linalg.eigh(values @ values.T).eigenvectors[:, -rank:]
    return Factors(largest.to(weight.dtype), (largest.T @ values).to(weight.dtype))


class TruncatedHead(TwoLayerHead):
    """A `TwoLayerHead` that is computed by factors in evaluation; it trains and is saved as a whole.

    Args:
        head: whose layers are taken.
        ranks: of fc6 and fc7.

    Raises:
        ConfigError: a rank that saves no products, or none.
    """

    def __init__(self, head: TwoLayerHead, ranks: Sequence[int]) -> None:
        nn.Module.__init__(self)
        self.fc6, self.fc7, self.dropout = head.fc6, head.fc7, head.dropout
        most = [_largest_rank(layer.in_features, layer.out_features) for layer in (self.fc6, self.fc7)]
        if len(ranks) != 2 or not all(0 < rank <= limit for rank, limit in zip(ranks, most, strict=True)):
            raise ConfigError(
                f"svd={list(ranks)}: give the ranks of fc6 and fc7, from 1 to {most[0]} and {most[1]}; "
                "larger ones would cost more than the whole layers"
            )
        self.ranks = tuple(ranks)
        self._factors: list[Factors] = []
        self.register_load_state_dict_post_hook(TruncatedHead._forget)

    def train(self, mode: bool = True) -> "TruncatedHead":
        """Set the mode; what is learned makes the factors out of date."""
        self._forget()
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        """From [R, C, h, w] to [R, channels]."""
        if self.training:
            return super().forward(x)
        if not self._factors or not _alike(self._factors[0].outer, self.fc6.weight):
            layers = zip((self.fc6, self.fc7), self.ranks, strict=True)
            # Made in a prediction under inference mode, factors would be of no use where a gradient is asked for.
            with torch.inference_mode(False):
                self._factors = [truncated_svd(layer.weight, rank) for layer, rank in layers]
        x = x.flatten(start_dim=1)
        for layer, (outer, inner) in zip((self.fc6, self.fc7), self._factors, strict=True):
            x = functional.relu(functional.linear(functional.linear(x, inner), outer, layer.bias))
        return x

    def _forget(self, *_: Any) -> None:
        self._factors = []


def _largest_rank(inputs: int, outputs: int) -> int:
    """The largest t with fewer products in t (inputs + outputs) than in inputs x outputs."""
    return (inputs * outputs - 1) // (inputs + outputs)


def _alike(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors can be computed with together."""
    return (one.device, one.dtype) == (other.device, other.dtype)
