"""Trunks of the full-resolution residual networks (Pohlen et al. 2016, table 1).

What the table leaves open follows the authors' code: the pooling stream is enlarged bilinearly and what the residual
stream gains by nearest neighbors, a norm stands where the streams part, and where they have met the first residual
unit narrows them by itself, with a 1x1 convolution beside it. The numbers of parameters are the paper's then, 17.7 and
24.8 million with 19 classes.
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

_ENDS = 3
"""Residual units before the streams part, and after they have met."""

# (channels of the pooling stream, units) of each level, from half resolution on down, and then up again.
_DOWN_AND_UP = {
    "frrn_a": (((96, 3), (192, 4), (384, 2), (384, 2)), ((192, 2), (192, 2), (96, 2))),
    "frrn_b": (((96, 3), (192, 4), (384, 2), (384, 2), (384, 2)), ((192, 2), (192, 2), (192, 2), (96, 2))),
}


@backbones.register("frrn_a", "frrn_b")
class FRRNBackbone(Backbone):
    """One stage, s1: what the residual units give that follow the meeting of the streams.

    The residual stream stays at full resolution and is only added to. The pooling stream is halved four times
    (frrn_a) or five times (frrn_b) and sees what it needs of the other, pooled, at each unit. Sizes round down; the
    input is at least 16 (32) pixels high and wide.

    Args:
        name: registered name.
        out_stages: see `Backbone`.

    Attributes:
        deepest_stride: of the pooling stream where it is smallest.
    """

    def __init__(self, name: str, out_stages: Sequence[str] | None = None) -> None:
        super().__init__(name, {"s1": Stage(_BASE, 1)}, out_stages)
        down, up = _DOWN_AND_UP[name]
        self.deepest_stride = 2 ** len(down)
        self.stem = named_sequential(
            **_normed(nn.Conv2d(3, _BASE, 5, padding=2, bias=False)), relu=nn.ReLU(inplace=True)
        )
        self.before = nn.Sequential(*(_ResidualUnit(_BASE, _BASE) for _ in range(_ENDS)))
        self.part = named_sequential(**_normed(nn.Conv2d(_BASE, _RESIDUAL, 1, bias=False)))
        channels = _BASE
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        for levels, strides, units in (
            (self.down, [2 ** (depth + 1) for depth in range(len(down))], down),
            (self.up, [self.deepest_stride // 2 ** (depth + 1) for depth in range(len(up))], up),
        ):
            for stride, (width, length) in zip(strides, units, strict=True):
                levels.append(_Level(channels, width, length, stride))
                channels = width
        widths = [channels + _RESIDUAL, *[_BASE] * _ENDS]
        self.after = nn.Sequential(*(_ResidualUnit(before, after) for before, after in pairwise(widths)))
        self.stage_modules = {"s1": [module for module, _ in self.named_children()]}
        initialize(self, "he_uniform")

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """See `Backbone.forward`."""
        pooling = self.before(self.stem(x))
        residual = self.part(pooling)
        for level in self.down:
            pooling, residual = level(functional.max_pool2d(pooling, 2), residual)
        for level in self.up:
            size = [extent // level.stride for extent in residual.shape[-2:]]
            pooling, residual = level(_enlarged(pooling, size), residual)
        pooling = _enlarged(pooling, residual.shape[-2:])
        return {"s1": self.after(torch.cat([pooling, residual], 1))}


class _Level(nn.Module):
    """The full-resolution residual units between two changes of the pooling stream's size.

    Args:
        channels: of the pooling stream that comes in.
        width: of the one that goes out.
        units: how many.
        stride: of the pooling stream.
    """

    def __init__(self, channels: int, width: int, units: int, stride: int) -> None:
        super().__init__()
        self.units = nn.ModuleList(_FullResolutionUnit(width if unit else channels, width) for unit in range(units))
        self.stride = stride

    def forward(self, pooling: Tensor, residual: Tensor) -> tuple[Tensor, Tensor]:
        """[B, channels, H / stride, W / stride] and [B, 32, H, W] to the same, of `width` and 32 channels."""
        for unit in self.units:
            pooling, added = unit(pooling, functional.max_pool2d(residual, self.stride))
            residual = residual + functional.interpolate(added, residual.shape[-2:])
        return pooling, residual


class _FullResolutionUnit(nn.Module):
    """Figure 3: two convolutions over both streams give the pooling stream, and from it what the other gains."""

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
        """Both streams at the pooling stream's size to both, the second as what is to be added."""
        pooling = self.convs(torch.cat([pooling, residual], 1))
        return pooling, self.residual(pooling)


class _ResidualUnit(nn.Module):
    """Two 3x3 convolutions with norms, added to what came in, with nothing behind (section 3.2)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.shortcut = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, bias=False)
        self.convs = nn.Sequential(
            *_normed(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)).values(),
            nn.ReLU(inplace=True),
            *_normed(nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)).values(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] to [B, outputs, H, W]."""
        return self.shortcut(x) + self.convs(x)


def _enlarged(x: Tensor, size: Sequence[int]) -> Tensor:
    """[B, C, h, w] to [B, C, *size]."""
    return functional.interpolate(x, list(size), mode="bilinear", align_corners=False)


def _normed(conv: nn.Conv2d) -> dict[str, nn.Module]:
    return {"conv": conv, "norm": nn.BatchNorm2d(conv.out_channels)}
