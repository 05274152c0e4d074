"""What lies between backbone and head of SSD: the levels of SSD300 and SSD512, and those on any backbone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from visionkit.backbones.base import Backbone
from visionkit.errors import ConfigError
from visionkit.models.detection.parts.default_boxes import DefaultBoxes


@dataclass
class Levels:
    """A form, built.

    Attributes:
        neck: from the backbone's maps to those of the levels.
        channels: of each level.
        boxes: default boxes of each level.
    """

    neck: nn.Module
    channels: list[int]
    boxes: DefaultBoxes


class ExtraBlock(nn.Sequential):
    """One level further: a 1 x 1 convolution to half the channels or fewer, and one that shrinks the map.

    Args:
        inputs: channels of the map before.
        outputs: channels of this level's.
        kernel, stride, padding: of the second convolution.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, padding: int = 0) -> None:
        super().__init__(
            nn.Conv2d(inputs, outputs // 2, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs // 2, outputs, kernel, stride, padding),
            nn.ReLU(inplace=True),
        )
        self.smallest = kernel - 2 * padding
        for layer in self:
            if isinstance(layer, nn.Conv2d):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """From [B, inputs, h, w] to [B, outputs, h', w']; a map smaller than the kernel is filled up with zeros."""
        missing = [max(self.smallest - side, 0) for side in x.shape[-2:]]
        if any(missing):
            x = functional.pad(x, [0, missing[1], 0, missing[0]])
        result: Tensor = super().forward(x)
        return result


class ExtraLevels(nn.Module):
    """Maps of the backbone and, behind the deepest, those of further blocks.

    Args:
        stages: names of the backbone's maps, shallow to deep.
        extra: the blocks.
        normalized: channels of those maps, by name, that are brought to length `start` at each place (L2Norm; Liu et
            al. 2015, section 3.1), with a factor to be learned for each channel.
        start: the length.
    """

    def __init__(
        self, stages: Sequence[str], extra: Sequence[ExtraBlock], normalized: Mapping[str, int], start: float = 20.0
    ) -> None:
        super().__init__()
        self.stages = list(stages)
        self.extra = nn.ModuleList(extra)
        self.scale = nn.ParameterDict({name: torch.full((channels,), start) for name, channels in normalized.items()})

    def forward(self, maps: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """From the backbone's maps [B, C, h, w] to those of the levels."""
        levels = {name: maps[name] for name in self.stages}
        x = levels[self.stages[-1]]
        for name, scale in self.scale.items():
            levels[name] = functional.normalize(levels[name]) * scale.view(1, -1, 1, 1)
        for number, block in enumerate(self.extra, start=1):
            levels[f"extra{number}"] = x = block(x)
        return levels


def ssd300(backbone: Backbone, extra_channels: Sequence[int] | None, scales: tuple[float, float] | None) -> Levels:
    """Six levels, 8,732 default boxes (figure 2; section 3.1)."""
    extra = [
        ExtraBlock(1024, 512, stride=2, padding=1),
        ExtraBlock(512, 256, stride=2, padding=1),
        ExtraBlock(256, 256),
        ExtraBlock(256, 256),
    ]
    boxes = DefaultBoxes(
        [[2], [2, 3], [2, 3], [2, 3], [2], [2]],
        [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05],  # the authors' for COCO, which torchvision has taken over
        [8, 16, 32, 64, 100, 300],
        300,
    )
    _refuse(extra_channels=extra_channels, scales=scales)
    return _on_vgg(backbone, extra, boxes)


def ssd512(backbone: Backbone, extra_channels: Sequence[int] | None, scales: tuple[float, float] | None) -> Levels:
    """Seven levels, 24,564 default boxes (the authors' code; section 3.1)."""
    extra = [
        ExtraBlock(1024, 512, stride=2, padding=1),
        *(ExtraBlock(inputs, 256, stride=2, padding=1) for inputs in (512, 256, 256)),
        ExtraBlock(256, 256, kernel=4, padding=1),
    ]
    boxes = DefaultBoxes(
        [[2], [2, 3], [2, 3], [2, 3], [2, 3], [2], [2]],
        [0.07, 0.15, 0.3, 0.45, 0.6, 0.75, 0.9, 1.05],  # section 3.1: .07, then from .15 to .9
        [8, 16, 32, 64, 128, 256, 512],
        512,
    )
    _refuse(extra_channels=extra_channels, scales=scales)
    return _on_vgg(backbone, extra, boxes)


def any_backbone(
    backbone: Backbone, extra_channels: Sequence[int] | None, scales: tuple[float, float] | None
) -> Levels:
    """The backbone's stages from stride 8 to 32 and one level for each of `extra_channels`.

    Each stage is normalized as conv4_3 is in the paper: what backbones give differs in size by orders of magnitude,
    and the last layers of some (MobileNet, EfficientNet) have no activation that would bound it.
    """
    extra_channels = (512, 256, 256) if extra_channels is None else extra_channels
    smallest, largest = (0.2, 0.9) if scales is None else scales
    stages = {name: stage for name, stage in backbone.stages.items() if 8 <= stage.stride <= 32}
    if not stages:
        given = ", ".join(backbone.stages)
        raise ConfigError(f"form=any needs stages of stride 8 to 32; {backbone.name} gives {given}")
    channels = [*(stage.channels for stage in stages.values()), *extra_channels]
    extra = [
        ExtraBlock(inputs, outputs, stride=2, padding=1)
        for inputs, outputs in zip(channels[len(stages) - 1 :], extra_channels, strict=False)
    ]
    if not 0 < smallest <= largest <= 1:
        raise ConfigError(f"scales={[smallest, largest]}: the smallest and the largest share of the image, within 0..1")
    sides = torch.linspace(smallest, largest, len(channels)).tolist()  # equation 4
    neck = ExtraLevels(list(stages), extra, {name: stage.channels for name, stage in stages.items()})
    return Levels(neck, channels, DefaultBoxes([[2, 3]] * len(channels), [*sides, 1.0]))


FORMS: dict[str, Callable[[Backbone, Sequence[int] | None, tuple[float, float] | None], Levels]] = {
    "ssd300": ssd300,
    "ssd512": ssd512,
    "any": any_backbone,
}


def _refuse(**options: object) -> None:
    for name, value in options.items():
        if value is not None:
            raise ConfigError(f"{name}={value} is for form=any; ssd300 and ssd512 have their own levels and boxes")


def _on_vgg(backbone: Backbone, extra: list[ExtraBlock], boxes: DefaultBoxes) -> Levels:
    given = {name: stage.channels for name, stage in backbone.stages.items()}
    if given.get("s8") != 512 or given.get("s16") != 1024:
        raise ConfigError(
            f"SSD300 and SSD512 stand on vgg16_atrous with its stages s8 and s16, not on {backbone.name}\n"
            "set model.backbone.name=vgg16_atrous, or model.form=any"
        )
    channels = [512, 1024, *(block[2].out_channels for block in extra)]
    return Levels(ExtraLevels(["s8", "s16"], extra, normalized={"s8": 512}), channels, boxes)  # type: ignore[arg-type]
