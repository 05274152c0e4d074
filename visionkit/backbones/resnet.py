"""ResNet (He et al. 2015, table 1), torchvision's form: the stride of a bottleneck sits in its 3x3 convolution."""

from collections.abc import Mapping, Sequence
from typing import Literal

import torchvision
from torch import Tensor

from visionkit.backbones.base import Backbone, Stage, Tail, backbones
from visionkit.backbones.published_weights import PublishedWeights, torchvision_weights, without_head
from visionkit.errors import ConfigError

_LAYERS = {"s4": "layer1", "s8": "layer2", "s16": "layer3", "s32": "layer4"}


@backbones.register("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
class ResNet(Backbone):
    """Stages s4..s32 are C2..C5, the outputs of the paper's conv2_x..conv5_x; sizes round up at each halving.

    State-dict keys are torchvision's own (`conv1.weight`, `layer1.0.conv1.weight`).

    Args:
        name: registered name.
        out_stages: see `Backbone`.
        output_stride: at 16 or 8, s32, or s16 and s32, are not halved but read with gaps (dilation; Chen et al. 2017,
            section 3.1). Stages keep their names then, so that s16 stays C4 with its weights and channels; how many
            pixels a cell spans is what `Stage.stride` says.

    Raises:
        ConfigError: a smaller output stride for a network without bottlenecks, whose form nobody has published.
    """

    def __init__(
        self, name: str, out_stages: Sequence[str] | None = None, output_stride: Literal[8, 16, 32] = 32
    ) -> None:
        network = torchvision.models.get_model(name, weights=None, **_dilation(name, output_stride))
        deepest = network.fc.in_features
        strides = {stage: int(stage[1:]) for stage in _LAYERS}
        stages = {s: Stage(deepest * stride // 32, min(stride, output_stride)) for s, stride in strides.items()}
        super().__init__(name, stages, out_stages, output_stride=output_stride)
        self.conv1, self.bn1, self.relu, self.maxpool = network.conv1, network.bn1, network.relu, network.maxpool
        for stage in self.computed:
            self.add_module(_LAYERS[stage], getattr(network, _LAYERS[stage]))
        self.stage_modules = {stage: [_LAYERS[stage]] for stage in self.computed}
        self.stage_modules["s4"] = ["conv1", "bn1", "layer1"]

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """See `Backbone.forward`."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        features = {}
        for stage in self.computed:
            x = getattr(self, _LAYERS[stage])(x)
            if stage in self.stages:
                features[stage] = x
        return features

    def split(self, last_stage: str) -> Tail:
        """See `Backbone.split`; `split("s16")` gives the fifth stage, the box head of Faster R-CNN on C4.

        The tail takes the map of `last_stage`, [B, C, h, w], and keeps the names `layer4`, ... in its state dict.
        """
        kept = list(self.computed)[: list(self.computed).index(last_stage) + 1] if last_stage in self.computed else []
        lent = [stage for stage in self.computed if stage not in kept]
        if not kept or not lent:
            raise ConfigError(
                f"{self.name} cannot be split after {last_stage!r}: it has the stages {', '.join(self.computed)}"
            )
        tail = Tail({_LAYERS[stage]: getattr(self, _LAYERS[stage]) for stage in lent}, self.norm)
        for stage in lent:
            delattr(self, _LAYERS[stage])
            del self.stage_modules[stage]
        self.stages = {s: self.computed[s] for s in kept if s in self.stages or s == last_stage}
        self.computed = {s: self.computed[s] for s in kept}
        return tail

    def published_weights(self) -> PublishedWeights:
        """See `Backbone.published_weights`."""
        return torchvision_weights(self.name)

    def translate(self, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Backbone.translate`."""
        return without_head(published, "fc.")


def _dilation(name: str, output_stride: int) -> dict[str, list[bool]]:
    """The argument for torchvision: whether layer2, layer3 and layer4 keep the size of the map before."""
    if output_stride not in (8, 16, 32):
        raise ConfigError(f"output_stride={output_stride}: {name} can have 8, 16 or 32")
    if output_stride == 32:
        return {}
    if name in ("resnet18", "resnet34"):
        raise ConfigError(f"output_stride={output_stride}: {name} has no dilated form; use resnet50 or a deeper one")
    return {"replace_stride_with_dilation": [False, output_stride < 16, True]}
