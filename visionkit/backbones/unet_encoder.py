"""The contracting path of U-Net (Ronneberger et al. 2015, figure 1)."""

from collections.abc import Sequence
from typing import Literal

from torch import Tensor, nn

from visionkit.backbones.base import Stage, backbones
from visionkit.backbones.initialization import initialize
from visionkit.backbones.sequential import SequentialBackbone, named_sequential

_STRIDES = (1, 2, 4, 8, 16)


@backbones.register("unet")
class UNetEncoder(SequentialBackbone):
    """Two 3x3 convolutions for each of the stages s1..s16, and a 2x2 pool before all but the first.

    The widths double from stage to stage, 64 to 1024 in the paper. The convolutions are padded, where the paper's are
    not and its 572 pixels give a map of 388: maps keep their size here. Sizes round down at each pool.

    Args:
        name: registered name.
        out_stages: see `Backbone`.
        in_channels: 3, or 1 to see the mean of the three (the paper's images are gray).
        width: channels of the first stage.
        batch_norm: whether each convolution has a norm instead of a bias.
        dropout: share of the deepest map's values dropped (section 3.1: "at the end of the contracting path"; .5 in
            the authors' code).
    """

    def __init__(
        self,
        name: str,
        out_stages: Sequence[str] | None = None,
        in_channels: Literal[1, 3] = 3,
        width: int = 64,
        batch_norm: bool = False,
        dropout: float = 0.5,
    ) -> None:
        parts, stages = {}, {}
        channels: int = in_channels
        opening: nn.Module = nn.Identity() if in_channels == 3 else _Gray()
        for depth, stride in enumerate(_STRIDES):
            convs = two_convolutions(channels, width << depth, batch_norm)
            channels, share = width << depth, dropout if stride == _STRIDES[-1] else 0.0
            parts[f"s{stride}"] = named_sequential(opening=opening, convs=convs, drop=nn.Dropout(share))
            stages[f"s{stride}"] = Stage(channels, stride)
            opening = nn.MaxPool2d(2)
        options = {"in_channels": in_channels, "width": width, "batch_norm": batch_norm, "dropout": dropout}
        super().__init__(name, stages, parts, out_stages, **options)
        initialize(self, "he")


class _Gray(nn.Module):
    """The mean of the channels."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] to [B, 1, H, W]."""
        return x.mean(1, keepdim=True)


def two_convolutions(inputs: int, width: int, batch_norm: bool) -> nn.Sequential:
    """What U-Net has at every level, on both ways: twice a 3x3 convolution and a ReLU.

    Args:
        inputs: channels that come in.
        width: channels of both convolutions.
        batch_norm: whether each convolution has a norm instead of a bias.
    """
    layers: list[nn.Module] = []
    for channels in (inputs, width):
        layers.append(nn.Conv2d(channels, width, 3, padding=1, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm2d(width))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
