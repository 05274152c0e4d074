"""VGG-16 with its fully connected layers as dilated convolutions (Chen et al. 2014; Liu et al. 2015, section 3.1)."""

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torchvision.models.vgg import cfgs, make_layers

from visionkit.backbones.base import Backbone, Stage, backbones
from visionkit.backbones.initialization import initialize
from visionkit.backbones.published_weights import PublishedWeights, torchvision_weights, without_head

WIDTH = 1024
"""Output channels of fc6 and fc7 as convolutions; the fully connected layers have 4 times as many."""

_STAGES = {
    "s1": Stage(64, 1),
    "s2": Stage(128, 2),
    "s4": Stage(256, 4),
    "s8": Stage(512, 8),
    "s16": Stage(WIDTH, 16),
}


@backbones.register("vgg16_atrous")
class VGGAtrous(Backbone):
    """VGG-16 of SSD. Stages s1..s8 are the maps before each pool (s8 is conv4_3 after ReLU), s16 is fc7.

    The third pool rounds up (38 cells for 300 pixels), the fifth keeps the size, and fc6 is a 3 x 3 convolution with
    dilation 6. The ImageNet weights of fc6 and fc7 are subsampled from the fully connected layers: every third
    position and every fourth channel.

    Args:
        name: registered name.
        out_stages: see `Backbone`.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("vgg16_atrous", weights="none", out_stages=["s8", "s16"]).eval()
        >>> with torch.no_grad():
        ...     maps = backbone(torch.zeros(1, 3, 100, 100))
        >>> {stage: tuple(map_.shape) for stage, map_ in maps.items()}
        {'s8': (1, 512, 13, 13), 's16': (1, 1024, 6, 6)}
    """

    def __init__(self, name: str, out_stages: Sequence[str] | None = None) -> None:
        super().__init__(name, _STAGES, out_stages)
        layers = list(make_layers(cfgs["D"]))[:-1]
        pools = [place for place, layer in enumerate(layers) if isinstance(layer, nn.MaxPool2d)]
        layers[pools[2]] = nn.MaxPool2d(2, 2, ceil_mode=True)
        starts = [0, *pools][: len(self.computed)]
        ends = [*pools, len(layers)][: len(self.computed)]
        self.features = nn.Sequential(*layers[: ends[-1]])
        self._spans = dict(zip(self.computed, zip(starts, ends, strict=True), strict=True))
        self.stage_modules = {
            stage: [f"features.{place}" for place in range(start, end)] for stage, (start, end) in self._spans.items()
        }
        if "s16" in self.computed:
            self.fc6 = nn.Conv2d(512, WIDTH, 3, padding=6, dilation=6)
            self.fc7 = nn.Conv2d(WIDTH, WIDTH, 1)
            self.stage_modules["s16"] += ["fc6", "fc7"]
        self._initialize()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """See `Backbone.forward`."""
        maps = {}
        for stage, (start, end) in self._spans.items():
            x = self.features[start:end](x)
            if stage == "s16":
                x = nn.functional.max_pool2d(x, 3, stride=1, padding=1)
                x = self.fc7(self.fc6(x).relu()).relu()
            maps[stage] = x
        return {stage: maps[stage] for stage in self.stages}

    def published_weights(self) -> PublishedWeights:
        """See `Backbone.published_weights`; the weights are those of VGG-16."""
        return torchvision_weights("vgg16")

    def translate(self, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Backbone.translate`."""
        state = without_head(published, "classifier.")
        for own, theirs, shape in (("fc6", "classifier.0", (-1, 512, 7, 7)), ("fc7", "classifier.3", (-1, 4096, 1, 1))):
            if f"{theirs}.weight" in published:
                kernel = published[f"{theirs}.weight"].view(shape)[::4, :: _channel_step(shape), ::3, ::3]
                state |= {f"{own}.weight": kernel.clone(), f"{own}.bias": published[f"{theirs}.bias"][::4].clone()}
        return state

    def _initialize(self) -> None:
        """Initialize by He over fan out, as torchvision's VGG, and fc6 and fc7 by Glorot."""
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.get_parameter("bias"))
        if "s16" in self.computed:
            initialize(self.fc6, "glorot")
            initialize(self.fc7, "glorot")


def _channel_step(shape: tuple[int, ...]) -> int:
    """Return the step between kept input channels: 1 for the 512 of conv5_3, 4 for the 4096 of fc6."""
    return 4 if shape[1] == 4 * WIDTH else 1
