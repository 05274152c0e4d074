"""Backbones of the full-resolution residual networks (Pohlen et al. 2016, table 1).

Details that the table leaves open follow the authors' code. The pooling stream is upsampled bilinearly, and what is
added to the residual stream by nearest neighbors. A norm follows the convolution that splits off the residual stream.
The first residual unit after the streams are merged reduces the channels, with a 1x1 convolution as its shortcut.
The numbers of parameters then are those of the paper, 17.7 and 24.8 million with 19 classes.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from visionkit.backbones.base import Backbone, Stage, backbones
from visionkit.backbones.initialization import initialize
from visionkit.backbones.sequential import named_sequential

_BASE = 48
"""Channels of the pooling stream at full resolution."""

_RESIDUAL = 32
"""Channels of the residual stream."""

_END_UNITS = 3
"""Number of residual units before the streams are split, and after they are merged."""

# (channels of the pooling stream, units) of each level, from half resolution down, and then up again.
_DOWN_AND_UP = {
    "frrn_a": (((96, 3), (192, 4), (384, 2), (384, 2)), ((192, 2), (192, 2), (96, 2))),
    "frrn_b": (((96, 3), (192, 4), (384, 2), (384, 2), (384, 2)), ((192, 2), (192, 2), (192, 2), (96, 2))),
}


@backbones.register("frrn_a", "frrn_b")
class FRRNBackbone(Backbone):
    """Two-stream backbone of FRRN with one stage, s1: the output of the residual units after the streams are merged.

    The residual stream stays at full resolution, and units only add to it. The pooling stream is halved four times
    (frrn_a) or five times (frrn_b), and each of its units reads the pooled residual stream. Sizes are rounded down; the
    input is at least 16 (32) pixels high and wide.

    Args:
        name: registered name.
        out_stages: see `Backbone`.

    Attributes:
        deepest_stride: greatest stride of the pooling stream.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("frrn_a", weights="none").eval()
        >>> with torch.no_grad():
        ...     maps = backbone(torch.zeros(1, 3, 32, 48))
        >>> maps["s1"].shape, backbone.deepest_stride
        (torch.Size([1, 48, 32, 48]), 16)
    """

    def __init__(self, name: str, out_stages: Sequence[str] | None = None) -> None:
        super().__init__(name, {"s1": Stage(_BASE, 1)}, out_stages)
        down, up = _DOWN_AND_UP[name]
        self.deepest_stride = 2 ** len(down)
        self.stem = named_sequential(
            **_normed(nn.Conv2d(3, _BASE, 5, padding=2, bias=False)), relu=nn.ReLU(inplace=True)
        )
        self.before = nn.Sequential(*(_ResidualUnit(_BASE, _BASE) for _ in range(_END_UNITS)))
        self.to_residual = named_sequential(**_normed(nn.Conv2d(_BASE, _RESIDUAL, 1, bias=False)))
        channels = _BASE
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for levels, strides, units in (
            (self.down, [2 ** (depth + 1) for depth in range(len(down))], down),
            (self.up, [self.deepest_stride // 2 ** (depth + 1) for depth in range(len(up))], up),
        ):
            for stride, (width, length) in zip(strides, units, strict=True):
                levels.append(_Level(channels, width, length, stride))
                channels = width
        widths = [channels + _RESIDUAL, *[_BASE] * _END_UNITS]
        self.after = nn.Sequential(*(_ResidualUnit(before, after) for before, after in pairwise(widths)))
        self.stage_modules = {"s1": [module for module, _ in self.named_children()]}
        initialize(self, "he_uniform")

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """See `Backbone.forward`."""
        pooling = self.before(self.stem(x))
        residual = self.to_residual(pooling)
        for level in self.down:
            pooling, residual = level(functional.max_pool2d(pooling, 2), residual)
        for level in self.up:
            size = [extent // level.stride for extent in residual.shape[-2:]]
            pooling, residual = level(_upsample(pooling, size), residual)
        pooling = _upsample(pooling, residual.shape[-2:])
        return {"s1": self.after(torch.cat([pooling, residual], 1))}


class _Level(nn.Module):
    """Full-resolution residual units at one size of the pooling stream.

    Args:
        channels: number of input channels of the pooling stream.
        width: number of its output channels.
        units: number of units.
        stride: stride of the pooling stream.
    """

    def __init__(self, channels: int, width: int, units: int, stride: int) -> None:
        super().__init__()
        self.units = nn.ModuleList(_FullResolutionUnit(width if unit else channels, width) for unit in range(units))
        self.stride = stride

    def forward(self, pooling: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        """Return the pooling stream [B, width, H / stride, W / stride] and the residual stream [B, 32, H, W]."""
        for unit in self.units:
            pooling, residue = unit(pooling, functional.max_pool2d(residual, self.stride))
            residual = residual + functional.interpolate(residue, residual.shape[-2:])
        return pooling, residual


class _FullResolutionUnit(nn.Module):
    """Full-resolution residual unit (figure 3): two convolutions on both streams, one back to the residual stream."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            *_normed(nn.Conv2d(channels + _RESIDUAL, width, 3, padding=1, bias=False)).values(),
            nn.ReLU(inplace=True),
            *_normed(nn.Conv2d(width, width, 3, padding=1, bias=False)).values(),
            nn.ReLU(inplace=True),
        )
        self.residual = nn.Conv2d(width, _RESIDUAL, 1)

    def forward(self, pooling: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        """Return the new pooling stream, and what is added to the residual stream, both at the same size."""
        pooling = self.convs(torch.cat([pooling, residual], 1))
        return pooling, self.residual(pooling)


class _ResidualUnit(nn.Module):
    """Residual unit: two 3x3 convolutions with norms, without a ReLU after the addition (section 3.2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, bias=False)
        self.convs = nn.Sequential(
            *_normed(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)).values(),
            nn.ReLU(inplace=True),
            *_normed(nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)).values(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, outputs, H, W] of [B, inputs, H, W]."""
        return self.shortcut(x) + self.convs(x)


def _upsample(x: Tensor, size: Sequence[int]) -> Tensor:
    """Return [B, C, *size] of [B, C, h, w], bilinearly."""
    return functional.interpolate(x, list(size), mode="bilinear", align_corners=False)


def _normed(conv: nn.Conv2d) -> dict[str, nn.Module]:
    return {"conv": conv, "norm": nn.BatchNorm2d(conv.out_channels)}
