"""Dense block of 3x3 convolutions (Huang et al. 2016, equation 2), computed in one buffer."""

from typing import cast

import torch
from torch import Tensor, nn

from visionkit.backbones.sequential import named_sequential
from visionkit.ops.densenet_buffer import DenseLayer, DenseOptions, dense_layers


class DenseBlock(nn.Module):
    """Dense block: layers of BatchNorm, ReLU, 3x3 convolution with bias, and dropout.

    Each layer takes the maps of all layers before it.

    Args:
        channels: number of input channels.
        growth: k, number of channels that each layer adds.
        layers: number of layers.
        dropout: dropout probability of the new maps in training.
        memory_efficient: recompute the inputs of the convolutions in the backward pass. Memory then grows linearly
            with the number of layers instead of quadratically; training is a little slower.

    Attributes:
        channels: number of output channels.
        new_channels: number of the last output channels, which the layers have added.
    """

    def __init__(self, channels: int, growth: int, layers: int, dropout: float, memory_efficient: bool) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_layer(channels + number * growth, growth) for number in range(layers))
        self.new_channels = layers * growth
        self.channels = channels + self.new_channels
        self.dropout = dropout
        self.memory_efficient = memory_efficient

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, channels, H, W] of [B, C, H, W]; the first C channels are the input."""
        norms = self._norms()
        modes = {norm.training for norm in norms}
        # Synchronized norms need their own forward pass; a compiler fuses the plain loop's operations itself.
        if len(modes) > 1 or any(type(norm) is not nn.BatchNorm2d for norm in norms) or torch.compiler.is_compiling():
            return self.plain(x)
        (training,) = modes
        values = x.numel() // x.shape[1]
        if training and values == 1:
            raise ValueError(f"Expected more than 1 value per channel when training, got {list(x.shape)}")  # as torch
        result = dense_layers(x, [_parameters_of(layer) for layer in self.layers], self._options())
        if training:
            for norm in norms:
                _update_running_statistics(norm, result.mean, result.variance * values / (values - 1))
        return result.maps

    def plain(self, x: Tensor) -> Tensor:
        """Compute the same as `forward` layer by layer, with a copy for each; ignores `memory_efficient`."""
        for layer in self.layers:
            new = layer(x)
            x = torch.cat([x, nn.functional.dropout(new, self.dropout, self.training)], 1)
        return x

    def _norms(self) -> list[nn.BatchNorm2d]:
        """Return the norms of the layers; multi-GPU training may have replaced them by `nn.SyncBatchNorm`."""
        return [cast(nn.BatchNorm2d, layer.get_submodule("norm")) for layer in self.layers]

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


def _parameters_of(layer: nn.Module) -> DenseLayer:
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
def _update_running_statistics(norm: nn.BatchNorm2d, mean: Tensor, variance: Tensor) -> None:
    """Update the running statistics with those of a batch, as BatchNorm does in training."""
    momentum = norm.momentum
    assert momentum is not None
    for running, batch in ((norm.running_mean, mean), (norm.running_var, variance)):
        assert running is not None
        running.lerp_(batch[: norm.num_features].to(running.dtype), momentum)
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
