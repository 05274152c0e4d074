"""Encoder of FC-DenseNet with its bottleneck (Jégou et al. 2016, "The One Hundred Layers Tiramisu", table 2)."""

from collections.abc import Sequence

from torch import nn

from visionkit.backbones.base import Stage, backbones
from visionkit.backbones.dense_block import DenseBlock
from visionkit.backbones.initialization import initialize
from visionkit.backbones.sequential import SequentialBackbone, named_sequential

_FIRST_CHANNELS = 48
_STRIDES = (1, 2, 4, 8, 16, 32)
_GROWTH_AND_LAYERS = {
    "fc_densenet56": (12, (4, 4, 4, 4, 4, 4)),
    "fc_densenet67": (16, (5, 5, 5, 5, 5, 5)),
    "fc_densenet103": (16, (4, 5, 7, 10, 12, 15)),
}


@backbones.register("fc_densenet56", "fc_densenet67", "fc_densenet103")
class FCDenseNetEncoder(SequentialBackbone):
    """Encoder of FC-DenseNet. Stages s1..s16 are the outputs of the dense blocks, s32 that of the bottleneck.

    An output begins with the input of its block. Sizes are rounded down.

    Args:
        name: registered name; the number is that of the layers of the segmentation network.
        out_stages: see `Backbone`.
        dropout: dropout probability after each convolution but the first (section 4.1: 0.2).
        memory_efficient: see `DenseBlock`.

    Attributes:
        growth: k, number of channels that each layer adds.
        layers: number of layers in the block of each stage.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("fc_densenet56", weights="none", out_stages=["s1", "s8", "s32"]).eval()
        >>> with torch.no_grad():
        ...     maps = backbone(torch.zeros(1, 3, 64, 64))
        >>> {stage: tuple(map_.shape) for stage, map_ in maps.items()}
        {'s1': (1, 96, 64, 64), 's8': (1, 240, 8, 8), 's32': (1, 336, 2, 2)}
    """

    def __init__(
        self,
        name: str,
        out_stages: Sequence[str] | None = None,
        dropout: float = 0.2,
        memory_efficient: bool = False,
    ) -> None:
        growth, layers = _GROWTH_AND_LAYERS[name]
        parts, stages = {}, {}
        channels = _FIRST_CHANNELS
        entry: nn.Module = nn.Conv2d(3, channels, 3, padding=1)
        for stride, length in zip(_STRIDES, layers, strict=True):
            block = DenseBlock(channels, growth, length, dropout, memory_efficient)
            channels = block.channels
            parts[f"s{stride}"] = named_sequential(entry=entry, block=block)
            stages[f"s{stride}"] = Stage(channels, stride)
            entry = _transition_down(channels, dropout)
        super().__init__(name, stages, parts, out_stages, dropout=dropout, memory_efficient=memory_efficient)
        self.growth = growth
        self.layers = dict(zip(stages, layers, strict=True))
        initialize(self, "he_uniform")


def _transition_down(channels: int, dropout: float) -> nn.Sequential:
    """Return the transition to the next block, which halves the map and keeps its channels (table 1)."""
    return named_sequential(
        norm=nn.BatchNorm2d(channels),
        relu=nn.ReLU(inplace=True),
        conv=nn.Conv2d(channels, channels, 1),
        drop=nn.Dropout(dropout),
        pool=nn.MaxPool2d(2),
    )
