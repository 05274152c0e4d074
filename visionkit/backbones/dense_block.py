"""Dense block of 3x3 convolutions alone (Huang et al. 2016, equation 2), in one buffer."""

import torch
from torch import Tensor, nn

from visionkit.backbones.sequential import named_sequential
from visionkit.ops.dense_layers import DenseLayer, DenseOptions, dense_layers


class DenseBlock(nn.Module):
    """Layers of BatchNorm, ReLU, 3x3 convolution with bias and dropout that each read the maps of all before them.

    Args:
        channels: of the map that comes in.
        growth: k, maps that each layer adds.
        layers: in the block.
        dropout: share of the new values that are dropped in training.
        memory_efficient: compute what the convolutions read again in the backward pass: memory grows with the number
            of layers instead of its square; training is a little slower.

    Attributes:
        channels: of the map that comes out.
        new_channels: of these, the last ones, which the layers have added.
    """

    def __init__(self, channels: int, growth: int, layers: int, dropout: float, memory_efficient: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_layer(channels + number * growth, growth) for number in range(layers))
        self.new_channels = layers * growth
        self.channels = channels + self.new_channels
        self.dropout = dropout
        self.memory_efficient = memory_efficient

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] to [B, channels, H, W], the input first."""
        norms = self._norms()
        modes = {norm.training for norm in norms}
        # Synchronised norms need their own forward pass; a compiler joins the plain loop's operations itself.
        if len(modes) > 1 or any(type(norm) is not nn.BatchNorm2d for norm in norms) or torch.compiler.is_compiling():
            return self.plain(x)
        (by_batch,) = modes
        values = x.numel() // x.shape[1]
        if by_batch and values == 1:
            raise ValueError(f"Expected more than 1 value per channel when training, got {list(x.shape)}")  # as torch
        result = dense_layers(x, [_values_of(layer) for layer in self.layers], self._options())
        if by_batch:
            for norm in norms:
                _follow(norm, result.mean, result.variance * values / (values - 1))
        return result.maps

    def plain(self, x: Tensor) -> Tensor:
        """What `forward` gives, layer by layer and by copying; `memory_efficient` has no effect on it."""
        for layer in self.layers:
            added = layer(x)
            x = torch.cat([x, nn.functional.dropout(added, self.dropout, self.training)], 1)
        return x

    def _norms(self) -> list[nn.BatchNorm2d]:
        return [layer.get_submodule("norm") for layer in self.layers]  # type: ignore[misc]

    def _options(self) -> DenseOptions:
        return DenseOptions(
            eps=self._norms()[0].eps,
            dropout=self.dropout if self.training else 0.0,
            keep=not self.memory_efficient,
        )


def _layer(channels: int, growth: int) -> nn.Sequential:
    return named_sequential(
        norm=nn.BatchNorm2d(channels), relu=nn.ReLU(inplace=True), conv=nn.Conv2d(channels, growth, 3, padding=1)
    )


def _values_of(layer: nn.Module) -> DenseLayer:
    norm, conv = layer.get_submodule("norm"), layer.get_submodule("conv")
    return DenseLayer(
        norm.get_parameter("weight"),
        norm.get_parameter("bias"),
        conv.get_parameter("weight"),
        conv.get_parameter("bias"),
        None if norm.training else norm.get_buffer("running_mean"),
        None if norm.training else norm.get_buffer("running_var"),
    )


@torch.no_grad()
def _follow(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """Move the running statistics towards the batch's, as BatchNorm does in training."""
    momentum = norm.momentum
    assert momentum is not None
    for running, seen in ((norm.running_mean, mean), (norm.running_var, variance)):
        assert running is not None
        running.lerp_(seen[: norm.num_features].to(running.dtype), momentum)
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
