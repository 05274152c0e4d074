"""Base class of backbones whose stages are modules that are applied one after the other."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from visionkit.backbones.base import Backbone, Stage


class SequentialBackbone(Backbone):
    """Backbone with one module per stage; the keys of its state dict are `parts.s4.…`.

    Args:
        name: registered name.
        network_stages: see `Backbone`.
        parts: for each stage the module that computes its map from that of the stage before, or from the image.
        out_stages: see `Backbone`.
        **options: see `Backbone`.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> from torch import nn
        >>> stages = {"s2": vk.Stage(8, stride=2), "s4": vk.Stage(16, stride=4)}
        >>> parts = {"s2": nn.Conv2d(3, 8, 3, stride=2, padding=1), "s4": nn.Conv2d(8, 16, 3, stride=2, padding=1)}
        >>> maps = vk.SequentialBackbone("tiny", stages, parts)(torch.zeros(1, 3, 64, 64))
        >>> {stage: tuple(map_.shape) for stage, map_ in maps.items()}
        {'s2': (1, 8, 32, 32), 's4': (1, 16, 16, 16)}
    """

    def __init__(
        self,
        name: str,
        network_stages: Mapping[str, Stage],
        parts: Mapping[str, nn.Module],
        out_stages: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(name, network_stages, out_stages, **options)
        self.parts = nn.ModuleDict({stage: parts[stage] for stage in self.computed})
        self.stage_modules = {stage: [f"parts.{stage}"] for stage in self.computed}

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """See `Backbone.forward`."""
        maps = {}
        for stage, part in self.parts.items():
            x = part(x)
            maps[stage] = x
        return {stage: maps[stage] for stage in self.stages}


def named_sequential(**layers: nn.Module) -> nn.Sequential:
    """Return a sequence whose layers have the given names, as a rule those of the paper."""
    sequence = nn.Sequential()
    for name, layer in layers.items():
        sequence.add_module(name, layer)
    return sequence
