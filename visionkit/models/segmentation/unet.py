"""U-Net (Ronneberger et al. 2015), with the paper's decoder or a light one for any backbone."""

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
from visionkit.ops.upsampling import bilinear, nearest_unpooling
from visionkit.registry import Registry


@models.register("unet")
class UNet(SegmentationModel):
    """U-Net: a decoder that concatenates the backbone's map of the same size at each level.

    The paper's convolutions are not padded, and skip connections are cropped. Here they are padded with zeros, and
    nothing is cropped. The paper also mirrors the image at its border, and weights pixels between touching cells more.

    Args:
        backbone: `unet` for the paper's network, or any other whose strides are powers of two. A level without a map of
            its stride (a ResNet has none of stride 1 and 2) has no skip connection.
        num_classes: K.
        decoder: kind of decoder. "paper": 2x2 transposed convolutions that halve the channels, and two convolutions
            with as many channels as the skip connection, which each level must have. "light": nearest-neighbor
            upsampling and two convolutions with norms. "auto": "paper" for `unet`, else "light".
        decoder_channels: output channels of each level of the light decoder, from the deepest on; further ones are
            ignored.
        finest_stride: stride of the last level of the decoder: 1, or 2 or 4 for a faster network, whose logits are
            upsampled by bilinear interpolation. On EfficientNet-Lite0, a training step with 2 takes 0.76 of the time.
        weights: path of a checkpoint of the whole model, or None. With another number of classes the last layer stays
            randomly initialized.

    Attributes:
        spec: primitives from which `create_model` builds the same structure.

    Raises:
        ConfigError: a stride is not a power of two, or the decoder lacks a skip connection or a number of channels.
        CheckpointError: `weights` is not available or does not fit.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("resnet18", weights="none")
        >>> model = vk.UNet(backbone, num_classes=2).eval()
        >>> with torch.inference_mode():
        ...     model(torch.zeros(1, 3, 50, 70)).shape
        torch.Size([1, 2, 50, 70])
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        decoder: Literal["auto", "paper", "light"] = "auto",
        decoder_channels: tuple[int, ...] = (256, 128, 64, 32, 16),
        finest_stride: Literal[1, 2, 4] = 1,
        weights: str | None = None,
    ) -> None:
        super().__init__()
        channels = {stage.stride: stage.channels for stage in backbone.stages.values()}
        self.stride = _checked_stride(backbone)
        self.backbone = backbone
        self.num_classes = num_classes
        self.finest_stride = finest_stride
        strides = [stride for stride in _halved(self.stride) if stride >= finest_stride]
        if not strides:
            raise ConfigError(f"finest_stride={finest_stride} must be below {self.stride}, the stride of the backbone")
        skips = [channels.get(stride, 0) for stride in strides]
        kind = ("paper" if backbone.name == "unet" else "light") if decoder == "auto" else decoder
        widths = _widths(backbone, kind, skips, decoder_channels)
        inputs = [channels[self.stride], *widths]
        norm = any(isinstance(layer, nn.BatchNorm2d) for layer in backbone.modules())
        build = decoders.get(kind)
        self.ups = nn.ModuleList(
            build(below, skip, width, norm) for (below, width), skip in zip(pairwise(inputs), skips, strict=True)
        )
        self.classifier = nn.Conv2d(inputs[-1], num_classes, 1)
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
        logits: Tensor = self.classifier(x)
        return logits if self.finest_stride == 1 else bilinear(logits, self.finest_stride)


class _Up(nn.Module):
    """One level of the decoder.

    Args:
        upsample: doubles the size of the map below.
        convs: convolutions on the concatenated maps.
    """

    def __init__(self, upsample: nn.Module, convs: nn.Module) -> None:
        super().__init__()
        self.upsample = upsample
        self.convs = convs

    def forward(self, below: Tensor, skip: Tensor | None) -> Tensor:
        """Return [B, C', 2h, 2w] of the map below [B, c, h, w] and the skip connection [B, C, 2h, 2w], if any."""
        x = self.upsample(below)
        return self.convs(x if skip is None else torch.cat([skip, x], 1))


class _Nearest(nn.Module):
    """Nearest unpooling as a module."""

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, C, 2h, 2w] of [B, C, h, w]."""
        return nearest_unpooling(x)


decoders: Registry[Callable[[int, int, int, bool], _Up]] = Registry("decoder of U-Net")
"""Each builds a level from the channels below, of the skip connection and of the level, and whether it has norms."""


@decoders.register("paper")
def _paper(below: int, skip: int, width: int, norm: bool) -> _Up:
    return _Up(nn.ConvTranspose2d(below, width, 2, stride=2), two_convolutions(width + skip, width, norm))


@decoders.register("light")
def _light(below: int, skip: int, width: int, norm: bool) -> _Up:
    return _Up(_Nearest(), two_convolutions(below + skip, width, batch_norm=True))


def _checked_stride(backbone: Backbone) -> int:
    """Return the stride of the deepest map."""
    strides = [stage.stride for stage in backbone.stages.values()]
    if any(stride & (stride - 1) for stride in strides) or any(stage.margin for stage in backbone.stages.values()):
        raise ConfigError(
            f"model=unet needs padded maps whose strides are powers of two, which {backbone.name} does not have"
        )
    return max(strides)


def _halved(stride: int) -> list[int]:
    """Return the strides from half of `stride` to 1."""
    return [stride >> level for level in range(1, stride.bit_length())]


def _widths(backbone: Backbone, kind: str, skips: list[int], light: tuple[int, ...]) -> list[int]:
    """Return the output channels of each level of the decoder."""
    if kind == "paper":
        if 0 in skips:
            raise ConfigError(
                f"decoder=paper needs a map of every stride, which {backbone.name} does not have; use decoder=light"
            )
        return skips
    if len(light) < len(skips):
        raise ConfigError(f"decoder_channels: {backbone.name} needs {len(skips)} numbers, not {len(light)}")
    return list(light[: len(skips)])
