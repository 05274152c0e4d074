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
    """Contracting path of U-Net: two 3x3 convolutions per stage, s1 to s16, and a 2x2 pool before each but the first.

    The widths double from stage to stage, from 64 to 1024 in the paper. The convolutions are padded, so maps keep
    their size; the paper's are not, and 572 pixels give a map of 388. Sizes are rounded down at each pool.

    Args:
        name: registered name.
        out_stages: see `Backbone`.
        in_channels: 3, or 1 to use the mean of the three (the paper's images are gray).
        width: channels of the first stage.
        use_batch_norm: whether each convolution has a BatchNorm instead of a bias.
        dropout: dropout probability of the deepest map (section 3.1: "at the end of the contracting path"; 0.5 in the
            authors' code).

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("unet", weights="none", width=8, out_stages=["s1", "s4", "s16"]).eval()
        >>> with torch.no_grad():
        ...     maps = backbone(torch.zeros(1, 3, 64, 64))
        >>> {stage: tuple(map_.shape) for stage, map_ in maps.items()}
        {'s1': (1, 8, 64, 64), 's4': (1, 32, 16, 16), 's16': (1, 128, 4, 4)}
    """

    def __init__(
        self,
        name: str,
        out_stages: Sequence[str] | None = None,
        in_channels: Literal[1, 3] = 3,
        width: int = 64,
        use_batch_norm: bool = False,
        dropout: float = 0.5,
    ) -> None:
        parts, stages = {}, {}
        channels: int = in_channels
        entry: nn.Module = nn.Identity() if in_channels == 3 else _Gray()
        for depth, stride in enumerate(_STRIDES):
            convs = two_convolutions(channels, width << depth, use_batch_norm)
            channels = width << depth
            drop = nn.Dropout(dropout if stride == _STRIDES[-1] else 0.0)
            parts[f"s{stride}"] = named_sequential(entry=entry, convs=convs, drop=drop)
            stages[f"s{stride}"] = Stage(channels, stride)
            entry = nn.MaxPool2d(2)
        options = {"in_channels": in_channels, "width": width, "use_batch_norm": use_batch_norm, "dropout": dropout}
        super().__init__(name, stages, parts, out_stages, **options)
        initialize(self, "he")


class _Gray(nn.Module):
    """Mean over the channels."""

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, 1, H, W] of [B, 3, H, W]."""
        return x.mean(1, keepdim=True)


def two_convolutions(inputs: int, width: int, batch_norm: bool) -> nn.Sequential:
    """Return the two 3x3 convolutions with ReLU of one level of U-Net, for the encoder and the decoder.

    Args:
        inputs: number of input channels.
        width: number of output channels of both convolutions.
        batch_norm: whether each convolution has a BatchNorm instead of a bias.
    """
    layers: list[nn.Module] = []
    for channels in (inputs, width):
        layers.append(nn.Conv2d(channels, width, 3, padding=1, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm2d(width))
        layers.append(nn.ReLU(inplace=True))
    return nn.Sequential(*layers)
