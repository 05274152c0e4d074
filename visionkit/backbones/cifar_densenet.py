"""DenseNet for CIFAR (Huang et al. 2016, section 3): three dense blocks of equal length, plain and -BC."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from visionkit.backbones.base import Stage, backbones
from visionkit.backbones.cifar_constants import MEAN, SIZE, STD, STRIDES
from visionkit.backbones.sequential import SequentialBackbone, named_sequential


@backbones.register(
    "cifar_densenet_40_12",
    "cifar_densenet_100_12",
    "cifar_densenet_100_24",
    "cifar_densenet_bc_100_12",
    "cifar_densenet_bc_250_24",
    "cifar_densenet_bc_190_40",
)
class CifarDenseNet(SequentialBackbone):
    """DenseNet for CIFAR. Stages s1, s2 and s4 are the outputs of the dense blocks after their norm and ReLU.

    The plain form starts with 16 channels, and its transitions keep the number of channels. -BC starts with 2k, has a
    1x1 convolution of 4k channels before each 3x3 one, and halves the channels in transitions. Sizes are rounded down.

    Args:
        name: registered name; the numbers are the layers L and the growth rate k.
        out_stages: see `Backbone`.
        dropout: share of the values dropped after each convolution but the first (section 4.2: 0.2 on CIFAR without
            augmentation and on SVHN, 0 with augmentation).
        memory_efficient: compute the layers of a block again in the backward pass: memory grows with their number
            instead of its square; training is slower.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("cifar_densenet_40_12", weights="none").eval()
        >>> with torch.no_grad():
        ...     maps = backbone(torch.zeros(1, 3, 32, 32))
        >>> {stage: tuple(map_.shape) for stage, map_ in maps.items()}
        {'s1': (1, 160, 32, 32), 's2': (1, 304, 16, 16), 's4': (1, 448, 8, 8)}
    """

    mean = MEAN
    std = STD
    native_size = SIZE

    def __init__(
        self,
        name: str,
        out_stages: Sequence[str] | None = None,
        dropout: float = 0.0,
        memory_efficient: bool = False,
    ) -> None:
        with_bottleneck = "_bc_" in name
        layers, growth = (int(number) for number in name.split("_")[-2:])
        per_block = (layers - 4) // (6 if with_bottleneck else 3)
        parts, stages = {}, {}
        channels = 2 * growth if with_bottleneck else 16
        entry: nn.Module = nn.Conv2d(3, channels, 3, padding=1, bias=False)
        for stride in STRIDES:
            block = CifarDenseBlock(channels, growth, per_block, with_bottleneck, dropout, memory_efficient)
            channels = block.channels
            norm = nn.BatchNorm2d(channels)
            parts[f"s{stride}"] = named_sequential(entry=entry, block=block, norm=norm, relu=nn.ReLU(inplace=True))
            stages[f"s{stride}"] = Stage(channels, stride)
            before, channels = channels, channels // 2 if with_bottleneck else channels
            entry = _transition(before, channels, dropout)
        super().__init__(name, stages, parts, out_stages, dropout=dropout, memory_efficient=memory_efficient)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight)


class CifarDenseBlock(nn.Module):
    """Dense block with or without bottlenecks: each layer takes the maps of all layers before it (equation 2).

    Args:
        channels: number of input channels.
        growth: k, number of channels that each layer adds.
        layers: number of layers.
        with_bottleneck: whether each layer has a 1x1 convolution to 4k channels before its 3x3 convolution.
        dropout: see `CifarDenseNet`.
        memory_efficient: see `CifarDenseNet`.

    Attributes:
        channels: number of output channels.
    """

    def __init__(
        self, channels: int, growth: int, layers: int, with_bottleneck: bool, dropout: float, memory_efficient: bool
    ) -> None:
        super().__init__()
        create_layer = _bottleneck_layer if with_bottleneck else _layer
        self.layers = nn.ModuleList(create_layer(channels + index * growth, growth, dropout) for index in range(layers))
        self.channels = channels + layers * growth
        self.memory_efficient = memory_efficient

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, channels, H, W] of [B, C, H, W]; the first C channels are the input."""
        if self.memory_efficient and torch.is_grad_enabled():
            return self._recomputing(x)
        for layer in self.layers:
            x = torch.cat([x, layer(x)], 1)  # in channels-last a third faster than concatenating a list in each layer
        return x

    def _recomputing(self, x: Tensor) -> Tensor:
        """Keep each layer's output for the backward pass, but not the concatenated maps that it reads."""
        maps = [x]
        for layer in self.layers:
            maps.append(checkpoint(_concatenate_and_run, layer, *maps, use_reentrant=False))
        return torch.cat(maps, 1)


def _concatenate_and_run(layer: nn.Module, *maps: Tensor) -> Tensor:
    return layer(torch.cat(maps, 1))


def _layer(channels: int, growth: int, dropout: float) -> nn.Sequential:
    return named_sequential(
        norm1=nn.BatchNorm2d(channels),
        relu1=nn.ReLU(inplace=True),
        conv1=nn.Conv2d(channels, growth, 3, padding=1, bias=False),
        drop1=nn.Dropout(dropout),
    )


def _bottleneck_layer(channels: int, growth: int, dropout: float) -> nn.Sequential:
    return named_sequential(
        norm1=nn.BatchNorm2d(channels),
        relu1=nn.ReLU(inplace=True),
        conv1=nn.Conv2d(channels, 4 * growth, 1, bias=False),
        drop1=nn.Dropout(dropout),
        norm2=nn.BatchNorm2d(4 * growth),
        relu2=nn.ReLU(inplace=True),
        conv2=nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False),
        drop2=nn.Dropout(dropout),
    )


def _transition(channels: int, kept: int, dropout: float) -> nn.Sequential:
    """Return the transition from a block's normalized map to the next block."""
    return named_sequential(
        conv=nn.Conv2d(channels, kept, 1, bias=False), drop=nn.Dropout(dropout), pool=nn.AvgPool2d(2)
    )
