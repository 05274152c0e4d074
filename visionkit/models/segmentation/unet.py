"""U-Net (Ronneberger et al. 2015): the paper's, and one on any backbone."""

from collections.abc import Callable
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from visionkit.backbones.base import Backbone
from visionkit.backbones.initialization import initialize
from visionkit.backbones.unet_encoder import two_convolutions
from visionkit.errors import ConfigError
from visionkit.models.base import SegmentationModel
from visionkit.models.create import models
from visionkit.models.load_model import load_model_weights
from visionkit.ops.upsampling import nearest_unpooling
from visionkit.registry import Registry


@models.register("unet")
class UNet(SegmentationModel):
    """A way up that joins at each level what the backbone has seen at that size.

    The paper's convolutions are not padded, so that it crops what it joins; here they are, and nothing is cropped.

    Args:
        backbone: `unet` for the paper's network, or any other whose strides are powers of two. Where it has no map of
            a stride (a ResNet of torchvision has none of 1 and 2), the way up goes on without.
        num_classes: K.
        decoder: form of the way up. "paper": 2x2 transposed convolutions that halve the channels, and two convolutions
            as wide as the map that is joined, which is needed at each level. "light": nearest neighbors and two
            convolutions with norms, as is usual on classification networks. "auto": the paper's for `unet`, else light.
        decoder_channels: widths of the light form, for each doubling from the deepest map on; further ones are unused.
        weights: values for the whole network: the path of a checkpoint, or None. With other classes the last layer
            stays new.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: the backbone's maps do not halve from one to the next, or the form lacks a map or a width.
        CheckpointError: `weights` cannot be had or does not fit.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        decoder: Literal["auto", "paper", "light"] = "auto",
        decoder_channels: tuple[int, ...] = (256, 128, 64, 32, 16),
        weights: str | None = None,
    ) -> None:
        super().__init__()
        channels = {stage.stride: stage.channels for stage in backbone.stages.values()}
        self.stride = _checked_stride(backbone)
        self.backbone = backbone
        self.num_classes = num_classes
        strides = [self.stride >> level for level in range(1, self.stride.bit_length())]
        skips = [channels.get(stride, 0) for stride in strides]
        form = ("paper" if backbone.name == "unet" else "light") if decoder == "auto" else decoder
        widths = _widths(backbone, form, skips, decoder_channels)
        below = [channels[self.stride], *widths]
        norm = any(isinstance(layer, nn.BatchNorm2d) for layer in backbone.modules())
        build = forms.get(form)
        self.ups = nn.ModuleList(
            build(inputs, skip, width, norm) for (inputs, width), skip in zip(pairwise(below), skips, strict=True)
        )
        self.classifier = nn.Conv2d(below[-1], num_classes, 1)
        for part in (self.ups, self.classifier):
            initialize(part, "he")
        if weights is not None:
            load_model_weights(self, backbone, weights, ("classifier.",))

    def _logits(self, x: Tensor) -> Tensor:
        stages = self.backbone.stages
        maps = {stages[name].stride: map_ for name, map_ in self.backbone(x).items()}
        x, stride = maps[self.stride], self.stride
        for up in self.ups:
            stride //= 2
            x = up(x, maps.get(stride))
        return self.classifier(x)


class _Up(nn.Module):
    """One level of the way up.

    Args:
        enlarge: doubles the map from below.
        convs: reads the joined maps.
    """

    def __init__(self, enlarge: nn.Module, convs: nn.Module) -> None:
        super().__init__()
        self.enlarge = enlarge
        self.convs = convs

    def forward(self, below: Tensor, skip: Tensor | None) -> Tensor:
        """[B, c, h, w] and [B, C, 2h, 2w], if there is one, to [B, C', 2h, 2w]."""
        x = self.enlarge(below)
        return self.convs(x if skip is None else torch.cat([skip, x], 1))


class _Nearest(nn.Module):
    """Nearest unpooling as a module."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, h, w] to [B, C, 2h, 2w]."""
        return nearest_unpooling(x)


forms: Registry[Callable[[int, int, int, bool], _Up]] = Registry("form of U-Net's way up")
"""Each builds a level of given channels from below, of the skip and of its own, with the backbone's choice of norms."""


@forms.register("paper")
def _paper(below: int, skip: int, width: int, norm: bool) -> _Up:
    return _Up(nn.ConvTranspose2d(below, width, 2, stride=2), two_convolutions(width + skip, width, norm))


@forms.register("light")
def _light(below: int, skip: int, width: int, norm: bool) -> _Up:
    return _Up(_Nearest(), two_convolutions(below + skip, width, batch_norm=True))


def _checked_stride(backbone: Backbone) -> int:
    """The stride of the deepest map."""
    strides = [stage.stride for stage in backbone.stages.values()]
    if any(stride & (stride - 1) for stride in strides) or any(stage.margin for stage in backbone.stages.values()):
        raise ConfigError(f"model unet needs padded maps whose strides are powers of two; {backbone.name} has others")
    return max(strides)


def _widths(backbone: Backbone, form: str, skips: list[int], light: tuple[int, ...]) -> list[int]:
    """Channels of each level of the way up."""
    if form == "paper":
        if 0 in skips:
            raise ConfigError(f"decoder: paper needs a map of every stride, which {backbone.name} has not; use light")
        return skips
    if len(light) < len(skips):
        raise ConfigError(f"decoder_channels: {backbone.name} needs {len(skips)} numbers, not {len(light)}")
    return list(light[: len(skips)])
