"""GoogLeNet (Szegedy et al. 2014, table 1), torchvision's form: with BatchNorm, and 3x3 instead of 5x5 branches."""

from collections.abc import Mapping, Sequence

import torchvision
from torch import Tensor

from visionkit.backbones.base import Backbone, Stage, backbones
from visionkit.backbones.published_weights import PublishedWeights, torchvision_weights, without_head

_STAGES = {
    "s2": Stage(64, 2),
    "s4": Stage(192, 4),
    "s8": Stage(480, 8),
    "s16": Stage(832, 16),
    "s32": Stage(1024, 32),
}
_MODULES = {
    "s2": ["conv1"],
    "s4": ["maxpool1", "conv2", "conv3"],
    "s8": ["maxpool2", "inception3a", "inception3b"],
    "s16": ["maxpool3", "inception4a", "inception4b", "inception4c", "inception4d", "inception4e"],
    "s32": ["maxpool4", "inception5a", "inception5b"],
}
_INNER_CHANNELS = {"inception4a": 512, "inception4d": 528}


@backbones.register("googlenet")
class GoogLeNet(Backbone):
    """GoogLeNet. Stages are the maps before each pool: conv1, conv3, inception 3b, 4e and 5b.

    Sizes are rounded up in the stem and at the last pool, and down at the other pools. The published weights expect
    inputs in -1..1: `mean` and `std` give that range, which torchvision's network computes itself.
    State-dict keys are torchvision's own
    (`inception4a.branch1.conv.weight`).

    Args:
        name: registered name.
        out_stages: see `Backbone`.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> backbone = vk.create_backbone("googlenet", weights="none", out_stages=["s16", "s32"]).eval()
        >>> with torch.no_grad():
        ...     maps, inner_maps = backbone.forward_with_inner_maps(torch.zeros(1, 3, 64, 64))
        >>> {name: tuple(map_.shape) for name, map_ in {**maps, **inner_maps}.items()}
        {'s16': (1, 832, 4, 4), 's32': (1, 1024, 2, 2), 'inception4a': (1, 512, 4, 4), 'inception4d': (1, 528, 4, 4)}
    """

    mean = (0.5, 0.5, 0.5)
    std = (0.5, 0.5, 0.5)
    default_head = "googlenet"

    def __init__(self, name: str, out_stages: Sequence[str] | None = None) -> None:
        super().__init__(name, _STAGES, out_stages)
        network = torchvision.models.get_model(name, weights=None, aux_logits=False, init_weights=True)
        self.stage_modules = {stage: _MODULES[stage] for stage in self.computed}
        for module in (module for modules in self.stage_modules.values() for module in modules):
            self.add_module(module, getattr(network, module))
        built = dict(self.named_children())
        self.inner_channels = {name: channels for name, channels in _INNER_CHANNELS.items() if name in built}

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """See `Backbone.forward`."""
        return self.forward_with_inner_maps(x)[0]

    def forward_with_inner_maps(self, x: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """See `Backbone.forward_with_inner_maps`; these are the maps after inception 4a and 4d, of stride 16."""
        maps, inner = {}, {}
        for stage, modules in self.stage_modules.items():
            for module in modules:
                x = getattr(self, module)(x)
                if module in self.inner_channels:
                    inner[module] = x
            if stage in self.stages:
                maps[stage] = x
        return maps, inner

    def published_weights(self) -> PublishedWeights:
        """See `Backbone.published_weights`."""
        return torchvision_weights(self.name)

    def translate(self, published: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Backbone.translate`."""
        return without_head(without_head(published, "fc."), "aux")
