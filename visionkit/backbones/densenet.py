"""DenseNet-BC (Huang et al. 2016, table 1), torchvision's form."""

import re
from collections.abc import Mapping, Sequence

import torchvision
from torch import Tensor
from torch.nn import functional

from visionkit.backbones.base import Backbone, Stage, backbones
from visionkit.backbones.published_weights import PublishedWeights, torchvision_weights, without_head

_STRIDES = (4, 8, 16, 32)
_OLD_KEY = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.(?=[12]\.)")
"""Keys of torchvision's published files, older than its modules: `denselayer1.norm.1.weight` is `norm1` now."""


@backbones.register("densenet121", "densenet161", "densenet169", "densenet201")
class DenseNet(Backbone):
    """DenseNet-BC. Stages s4..s32 are the outputs of the dense blocks after the norm and ReLU that follow them.

    For the first three blocks, this norm and ReLU belong to the transition, whose 1x1 convolution and pool then take
    the returned map. Sizes are rounded up in the stem and down in the transitions. State-dict keys are torchvision's
    own (`features.conv0.weight`).

    Args:
        name: registered name.
        out_stages: see `Backbone`.
        memory_efficient: recompute the concatenations in the backward pass, which takes less memory and more time.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("densenet121", weights="none").eval()
        >>> with torch.no_grad():
        ...     maps = backbone(torch.zeros(1, 3, 64, 64))
        >>> {stage: tuple(map_.shape) for stage, map_ in maps.items()}
        {'s4': (1, 256, 16, 16), 's8': (1, 512, 8, 8), 's16': (1, 1024, 4, 4), 's32': (1, 1024, 2, 2)}
    """

    def __init__(self, name: str, out_stages: Sequence[str] | None = None, memory_efficient: bool = False) -> None:
        features = torchvision.models.get_model(name, weights=None, memory_efficient=memory_efficient).features
        norms = [features.transition1.norm, features.transition2.norm, features.transition3.norm, features.norm5]
        stages = {f"s{stride}": Stage(norm.num_features, stride) for stride, norm in zip(_STRIDES, norms, strict=True)}
        super().__init__(name, stages, out_stages, memory_efficient=memory_efficient)
        self.features = features
        self.stage_modules = _modules_by_stage(len(self.computed))
        self._drop_deeper_than(len(self.computed))

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """See `Backbone.forward`."""
        layers = self.features
        x = layers.pool0(layers.relu0(layers.norm0(layers.conv0(x))))
        maps = {}
        for number, stage in enumerate(self.computed, start=1):
            if number > 1:
                transition = getattr(layers, f"transition{number - 1}")
                x = transition.pool(transition.conv(x))
            x = getattr(layers, f"denseblock{number}")(x)
            norm = layers.norm5 if number == 4 else getattr(layers, f"transition{number}").norm
            x = functional.relu(norm(x), inplace=True)
            if stage in self.stages:
                maps[stage] = x
        return maps

    def published_weights(self) -> PublishedWeights:
        """See `Backbone.published_weights`."""
        return torchvision_weights(self.name)

    def translate(self, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Backbone.translate`."""
        return without_head({_OLD_KEY.sub(r"\1", key): value for key, value in published.items()}, "classifier.")

    def _drop_deeper_than(self, depth: int) -> None:
        """Remove all modules after the norm of dense block number `depth`, from 1 to 4."""
        if depth == 4:
            return
        last = getattr(self.features, f"transition{depth}")
        del last.conv, last.pool, self.features.norm5
        for number in range(depth + 1, 5):
            delattr(self.features, f"denseblock{number}")
        for number in range(depth + 1, 4):
            delattr(self.features, f"transition{number}")


def _modules_by_stage(count: int) -> dict[str, list[str]]:
    stages = {
        "s4": ["conv0", "norm0", "denseblock1", "transition1.norm"],
        "s8": ["transition1.conv", "denseblock2", "transition2.norm"],
        "s16": ["transition2.conv", "denseblock3", "transition3.norm"],
        "s32": ["transition3.conv", "denseblock4", "norm5"],
    }
    return {stage: [f"features.{name}" for name in names] for stage, names in list(stages.items())[:count]}
