"""ResNet (He et al. 2015, table 1), torchvision's form: a bottleneck's 3x3 convolution has the stride."""

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
    """ResNet. Stages s4..s32 are C2..C5, the outputs of the paper's conv2_x..conv5_x; sizes are rounded up.

    State-dict keys are torchvision's own (`conv1.weight`, `layer1.0.conv1.weight`).

    Args:
        name: registered name.
        out_stages: see `Backbone`.
        output_stride: 16 replaces the stride of s32 by dilation, 8 those of s16 and s32 (Chen et al. 2017, section
            3.1). Stages keep their names: s16 is still C4, with the same weights and channels, and `Stage.stride` is
            its true stride.
        zero_init_residual: whether each block begins as the identity, because the last BatchNorm of its residual branch
            is initialized with 0 (Goyal et al. 2017, section 5.1). A randomly initialized network then learns faster
            at first. It has no effect on weights that are loaded, and is not part of `spec`.

    Raises:
        ConfigError: an output stride below 32 for a network without bottlenecks: there is no published form.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("resnet50", weights="none", output_stride=16).eval()
        >>> with torch.no_grad():
        ...     maps = backbone(torch.zeros(1, 3, 64, 64))
        >>> {stage: tuple(map_.shape) for stage, map_ in maps.items()}
        {'s4': (1, 256, 16, 16), 's8': (1, 512, 8, 8), 's16': (1, 1024, 4, 4), 's32': (1, 2048, 4, 4)}
    """

    def __init__(
        self,
        name: str,
        out_stages: Sequence[str] | None = None,
        output_stride: Literal[8, 16, 32] = 32,
        zero_init_residual: bool = False,
    ) -> None:
        network = torchvision.models.get_model(
            name, weights=None, zero_init_residual=zero_init_residual, **_dilation(name, output_stride)
        )
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
        """See `Backbone.split`; `split("s16")` returns C5, the box head of Faster R-CNN on C4.

        The returned module takes the map of `last_stage`, [B, C, h, w]; its state-dict keys begin with `layer4`, ...
        """
        kept = list(self.computed)[: list(self.computed).index(last_stage) + 1] if last_stage in self.computed else []
        removed = [stage for stage in self.computed if stage not in kept]
        if not kept or not removed:
            raise ConfigError(
                f"{self.name} cannot be split after {last_stage!r}: it has the stages {', '.join(self.computed)}"
            )
        tail = Tail({_LAYERS[stage]: getattr(self, _LAYERS[stage]) for stage in removed}, self.batch_norm)
        for stage in removed:
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
    """Return torchvision's argument: whether layer2, layer3 and layer4 have dilation instead of stride."""
    if output_stride not in (8, 16, 32):
        raise ConfigError(f"output_stride={output_stride}: {name} supports 8, 16 and 32")
    if output_stride == 32:
        return {}
    if name in ("resnet18", "resnet34"):
        raise ConfigError(f"output_stride={output_stride}: {name} has no dilated form; use resnet50 or a deeper one")
    return {"replace_stride_with_dilation": [False, output_stride < 16, True]}
