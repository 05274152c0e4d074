"""The variants of SSD: the feature maps of SSD300, of SSD512, and those on any backbone, with their default boxes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from visionkit.backbones.base import Backbone
from visionkit.errors import ConfigError
from visionkit.models.detection.parts.default_boxes import DefaultBoxes


@dataclass
class SSDLevels:
    """The parts of SSD that its variants differ in.

    Attributes:
        neck: from the backbone's maps to those of the levels.
        channels: channels of each level.
        default_boxes: default boxes of each level.
    """

    neck: nn.Module
    channels: list[int]
    default_boxes: DefaultBoxes


class ExtraBlock(nn.Sequential):
    """An extra level of SSD: a 1 x 1 convolution to half the channels, and one that makes the map smaller.

    Args:
        in_channels: channels of the level before.
        out_channels: channels of this level.
        kernel_size, stride, padding: of the second convolution.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1, padding: int = 0
    ) -> None:
        convolutions = (
            nn.Conv2d(in_channels, out_channels // 2, 1),
            nn.Conv2d(out_channels // 2, out_channels, kernel_size, stride, padding),
        )
        for layer in convolutions:
            nn.init.xavier_uniform_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
        super().__init__(convolutions[0], nn.ReLU(inplace=True), convolutions[1], nn.ReLU(inplace=True))
        self.out_channels = out_channels
        self.min_size = kernel_size - 2 * padding

    def forward(self, x: Tensor) -> Tensor:
        """Return [B, out_channels, h', w'] of [B, in_channels, h, w]; a map smaller than the kernel is zero-padded."""
        missing = [max(self.min_size - side, 0) for side in x.shape[-2:]]
        if any(missing):
            x = functional.pad(x, [0, missing[1], 0, missing[0]])
        result: Tensor = super().forward(x)
        return result


class ExtraLevels(nn.Module):
    """Neck of SSD: maps of the backbone, and maps of extra blocks on the deepest of them.

    Args:
        stages: names of the backbone's maps, shallow to deep.
        extra: the extra blocks.
        normalized: channels of the maps that are L2-normalized at each position, by name (Liu et al. 2015, section
            3.1). A learned factor for each channel scales them.
        initial_scale: initial value of those factors.
    """

    def __init__(
        self,
        stages: Sequence[str],
        extra: Sequence[ExtraBlock],
        normalized: Mapping[str, int],
        initial_scale: float = 20.0,
    ) -> None:
        super().__init__()
        self.stages = list(stages)
        self.extra = nn.ModuleList(extra)
        self.scale = nn.ParameterDict(
            {name: torch.full((channels,), initial_scale) for name, channels in normalized.items()}
        )

    def forward(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the map [B, c, h, w] of each level from the backbone's maps [B, C, h, w]."""
        levels = {name: maps[name] for name in self.stages}
        x = levels[self.stages[-1]]
        for name, scale in self.scale.items():
            levels[name] = functional.normalize(levels[name]) * scale.view(1, -1, 1, 1)
        for number, block in enumerate(self.extra, start=1):
            levels[f"extra{number}"] = x = block(x)
        return levels


def ssd300(backbone: Backbone, extra_channels: Sequence[int] | None, scales: tuple[float, float] | None) -> SSDLevels:
    """Return the six levels of SSD300 with 8,732 default boxes (Liu et al. 2015, figure 2 and section 3.1)."""
    _check_unused(extra_channels=extra_channels, scales=scales)
    extra = [
        ExtraBlock(1024, 512, stride=2, padding=1),
        ExtraBlock(512, 256, stride=2, padding=1),
        ExtraBlock(256, 256),
        ExtraBlock(256, 256),
    ]
    default_boxes = DefaultBoxes(
        [[2], [2, 3], [2, 3], [2, 3], [2], [2]],
        [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],  # the authors' for COCO, as in torchvision
        [8, 16, 32, 64, 100, 300],
        300,
    )
    return _vgg_levels(backbone, extra, default_boxes)


def ssd512(backbone: Backbone, extra_channels: Sequence[int] | None, scales: tuple[float, float] | None) -> SSDLevels:
    """Return the seven levels of SSD512 with 24,564 default boxes (the authors' code; section 3.1)."""
    _check_unused(extra_channels=extra_channels, scales=scales)
    extra = [
        ExtraBlock(1024, 512, stride=2, padding=1),
        *(ExtraBlock(in_channels, 256, stride=2, padding=1) for in_channels in (512, 256, 256)),
        ExtraBlock(256, 256, kernel_size=4, padding=1),
    ]
    default_boxes = DefaultBoxes(
        [[2], [2, 3], [2, 3], [2, 3], [2, 3], [2], [2]],
        [0.07, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1.05],  # section 3.1: 0.07, then from 0.15 to 0.9
        [8, 16, 32, 64, 128, 256, 512],
        512,
    )
    return _vgg_levels(backbone, extra, default_boxes)


def any_backbone(
    backbone: Backbone, extra_channels: Sequence[int] | None, scales: tuple[float, float] | None
) -> SSDLevels:
    """Return the backbone's stages of stride 8 to 32, and one extra level for each of `extra_channels`.

    Each stage is L2-normalized as conv4_3 is in the paper. The maps of backbones differ in size by orders of magnitude,
    and some backbones (MobileNet, EfficientNet) have no activation after their last layers that would bound them.
    """
    extra_channels = (512, 256, 256) if extra_channels is None else extra_channels
    smallest, largest = (0.2, 0.9) if scales is None else scales
    stages = {name: stage for name, stage in backbone.stages.items() if 8 <= stage.stride <= 32}
    if not stages:
        raise ConfigError(
            f"variant=any needs stages of stride 8 to 32; {backbone.name} has {', '.join(backbone.stages)}\n"
            "set model.backbone.out_stages, such as [s8, s16, s32]"
        )
    if not 0 < smallest <= largest <= 1:
        raise ConfigError(
            f"scales={[smallest, largest]}: give the smallest and the largest share of the image, in 0..1"
        )
    channels = [*(stage.channels for stage in stages.values()), *extra_channels]
    extra = [
        ExtraBlock(in_channels, out_channels, stride=2, padding=1)
        for in_channels, out_channels in zip(channels[len(stages) - 1 :], extra_channels, strict=False)
    ]
    sides = torch.linspace(smallest, largest, len(channels)).tolist()  # equation 4
    neck = ExtraLevels(list(stages), extra, {name: stage.channels for name, stage in stages.items()})
    return SSDLevels(neck, channels, DefaultBoxes([[2, 3]] * len(channels), [*sides, 1.0]))


VARIANTS: dict[str, Callable[[Backbone, Sequence[int] | None, tuple[float, float] | None], SSDLevels]] = {
    "ssd300": ssd300,
    "ssd512": ssd512,
    "any": any_backbone,
}


def _check_unused(**options: object) -> None:
    for name, value in options.items():
        if value is not None:
            raise ConfigError(f"{name}={value} is for variant=any; ssd300 and ssd512 have their own levels and boxes")


def _vgg_levels(backbone: Backbone, extra: list[ExtraBlock], default_boxes: DefaultBoxes) -> SSDLevels:
    channels = {name: stage.channels for name, stage in backbone.stages.items()}
    if channels.get("s8") != 512 or channels.get("s16") != 1024:
        raise ConfigError(
            f"SSD300 and SSD512 need the stages s8 and s16 of vgg16_atrous, not {backbone.name}\n"
            "set model.backbone.name=vgg16_atrous, or model.variant=any"
        )
    neck = ExtraLevels(["s8", "s16"], extra, normalized={"s8": 512})
    return SSDLevels(neck, [512, 1024, *(block.out_channels for block in extra)], default_boxes)
