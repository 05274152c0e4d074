"""ResNet for CIFAR (He et al. 2015, section 4.2): 6n + 2 layers, widths 16, 32 and 64, parameter-free shortcuts."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.resnet import BasicBlock

from visionkit.backbones.base import Stage, backbones
from visionkit.backbones.cifar_constants import MEAN, SIZE, STD, STRIDES
from visionkit.backbones.sequential import SequentialBackbone, named_sequential

_WIDTHS = (16, 32, 64)
_STAGES = {f"s{stride}": Stage(channels, stride) for channels, stride in zip(_WIDTHS, STRIDES, strict=True)}


@backbones.register(
    "cifar_resnet20",
    "cifar_resnet32",
    "cifar_resnet44",
    "cifar_resnet56",
    "cifar_resnet110",
    "cifar_resnet1202",
)
class CifarResNet(SequentialBackbone):
    """ResNet for CIFAR. Stages s1, s2 and s4 are the outputs of the three groups of 2n layers; sizes are rounded up.

    Args:
        name: registered name with the number of layers.
        out_stages: see `Backbone`.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("cifar_resnet20", weights="none").eval()
        >>> with torch.no_grad():
        ...     maps = backbone(torch.zeros(1, 3, 32, 32))
        >>> {stage: tuple(map_.shape) for stage, map_ in maps.items()}
        {'s1': (1, 16, 32, 32), 's2': (1, 32, 16, 16), 's4': (1, 64, 8, 8)}
    """

    mean = MEAN
    std = STD
    native_size = SIZE

    def __init__(self, name: str, out_stages: Sequence[str] | None = None) -> None:
        blocks = (int(name.removeprefix("cifar_resnet")) - 2) // 6
        stem = named_sequential(
            conv=nn.Conv2d(3, 16, 3, padding=1, bias=False), norm=nn.BatchNorm2d(16), relu=nn.ReLU()
        )
        parts = {
            "s1": named_sequential(stem=stem, blocks=_group(16, 16, blocks)),
            "s2": _group(16, 32, blocks),
            "s4": _group(32, 64, blocks),
        }
        super().__init__(name, _STAGES, parts, out_stages)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


class HalvingShortcut(nn.Module):
    """Shortcut that takes every second row and column, and adds channels of zeros (option A).

    Args:
        new_channels: number of channels that are added.
    """

    def __init__(self, new_channels: int) -> None:
        super().__init__()
        self.new_channels = new_channels

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, C + new_channels, ceil(H / 2), ceil(W / 2)] of [B, C, H, W]."""
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.new_channels))


def _group(before: int, channels: int, blocks: int) -> nn.Sequential:
    """Return blocks of one width; the first halves the map if the width differs from that before."""
    if channels == before:
        first = BasicBlock(before, channels)
    else:
        first = BasicBlock(before, channels, stride=2, downsample=HalvingShortcut(channels - before))
    return nn.Sequential(first, *(BasicBlock(channels, channels) for _ in range(blocks - 1)))
