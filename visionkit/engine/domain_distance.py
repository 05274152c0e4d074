"""How far images are from those that a network was trained on, without having the latter.

Every BatchNorm layer keeps mean and variance of what it saw in training, channel by channel: the statistics of the
source domain's own features (Li et al. 2016, "Revisiting Batch Normalization For Practical Domain Adaptation", take
them for the domain itself). They are compared with those of the same channels for other images.
"""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from visionkit.backbones import Backbone
from visionkit.errors import ConfigError
from visionkit.ops.hellinger import squared_hellinger


class ChannelMoments:
    """Gathers mean and variance of each channel of all that enters a layer.

    Args:
        layer: whose input is looked at, [B, C, ...].
    """

    def __init__(self, layer: nn.Module) -> None:
        self.count, self.sum, self.squares = 0, torch.zeros(()), torch.zeros(())
        self._hook = layer.register_forward_pre_hook(self._gather)

    def _gather(self, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        values = inputs[0].detach().double().transpose(0, 1).flatten(1)
        self.count += values.shape[1]
        self.sum = self.sum.to(values) + values.sum(dim=1)
        self.squares = self.squares.to(values) + values.square().sum(dim=1)

    def result(self) -> tuple[Tensor, Tensor]:
        """Mean and variance, float64 [C] each; nothing is gathered any more."""
        self._hook.remove()
        mean = self.sum / self.count
        return mean, (self.squares / self.count - mean.square()).clamp_min(0)


def domain_distance(backbone: Backbone, batches: Iterable[Tensor]) -> dict[str, float]:
    """Distance of images to those that the backbone was trained on, stage by stage.

    Squared Hellinger distance of two normal distributions, averaged over channels, then over layers.

    Args:
        backbone: with pretrained values; it is put into evaluation mode.
        batches: normalized images [B, 3, H, W].

    Returns:
        For each stage with BatchNorm layers their mean distance, 0 (the same) to 1; empty where the backbone has none.

    Raises:
        ConfigError: the backbone holds random values, which know no domain.
    """
    if backbone.is_randomly_initialized:
        raise ConfigError(
            f"{backbone.name} holds random values: there is nothing to transfer, and no domain to compare with\n"
            "give it weights: model.backbone.weights=imagenet, or the path of a file"
        )
    backbone.eval()
    layers = layers_with_statistics(backbone)
    moments = {stage: [ChannelMoments(layer) for layer in found] for stage, found in layers.items()}
    with torch.inference_mode():
        for images in batches:
            backbone(images)
        return {
            stage: torch.stack([_distance(layer, seen) for layer, seen in zip(found, moments[stage], strict=True)])
            .mean()
            .item()
            for stage, found in layers.items()
        }


def layers_with_statistics(backbone: Backbone) -> dict[str, list[_BatchNorm]]:
    """The BatchNorm layers of each stage that keep statistics, shallow to deep; only stages that have any."""
    found = {
        stage: [
            layer
            for name in names
            for layer in backbone.get_submodule(name).modules()
            if isinstance(layer, _BatchNorm) and layer.running_mean is not None
        ]
        for stage, names in backbone.stage_modules.items()
    }
    return {stage: layers for stage, layers in found.items() if layers}


def _distance(layer: _BatchNorm, seen: ChannelMoments) -> Tensor:
    """Mean distance over a layer's channels, a scalar."""
    assert layer.running_mean is not None
    assert layer.running_var is not None
    mean, variance = seen.result()
    return squared_hellinger(mean, variance, layer.running_mean.to(mean), layer.running_var.to(mean)).mean()
