"""Distance of images to the training data of a backbone, computed without that data.

BatchNorm layers store the mean and variance of each input channel over the training data, which are statistics of the
source domain (Li et al. 2016, "Revisiting Batch Normalization For Practical Domain Adaptation"). They
are compared with the statistics of the same channels for other images.
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
    """Accumulator of the mean and variance of each channel of a layer's input.

    Args:
        layer: layer with input [B, C, ...].
    """

    def __init__(self, layer: nn.Module) -> None:
        self.count, self.sum, self.squares = 0, torch.zeros(()), torch.zeros(())
        self._hook = layer.register_forward_pre_hook(self._add)

    def _add(self, layer: nn.Module, inputs: tuple[Any, ...]) -> None:
        values = inputs[0].detach().double().transpose(0, 1).flatten(1)
        self.count += values.shape[1]
        self.sum = self.sum.to(values) + values.sum(dim=1)
        self.squares = self.squares.to(values) + values.square().sum(dim=1)

    def result(self) -> tuple[Tensor, Tensor]:
        """Stop accumulating, and return mean and variance, float64 [C] each."""
        self._hook.remove()
        mean = self.sum / self.count
        return mean, (self.squares / self.count - mean.square()).clamp_min(0)


def domain_distance(backbone: Backbone, batches: Iterable[Tensor]) -> dict[str, float]:
    """Return the distance of images to the training data of a backbone, by stage.

    It is the squared Hellinger distance of two normal distributions, averaged over channels, then over layers.

    Args:
        backbone: backbone with pretrained weights. It is set to evaluation mode.
        batches: normalized images [B, 3, H, W].

    Returns:
        Mean distance of each stage with BatchNorm layers, from 0 (equal) to 1; empty if the backbone has none.

    Raises:
        ConfigError: the backbone is randomly initialized.

    Example:
        >>> import torch
        >>> import visionkit as vk
        >>> from visionkit.engine.domain_distance import domain_distance
        >>> backbone = vk.create_backbone("resnet18", weights="none")
        >>> backbone.is_randomly_initialized = False  # in place of pretrained weights
        >>> list(domain_distance(backbone, [torch.zeros(1, 3, 32, 32)]))
        ['s4', 's8', 's16', 's32']
    """
    if backbone.is_randomly_initialized:
        raise ConfigError(
            f"{backbone.name} is randomly initialized: there are no training data to compare with\n"
            "use pretrained weights: model.backbone.weights=imagenet, or the path of a file"
        )
    backbone.eval()
    layers_of = batch_norm_layers(backbone)
    moments_of = {stage: [ChannelMoments(layer) for layer in layers] for stage, layers in layers_of.items()}
    with torch.inference_mode():
        for images in batches:
            backbone(images)
        return {
            stage: torch.stack([_distance(*pair) for pair in zip(layers, moments_of[stage], strict=True)]).mean().item()
            for stage, layers in layers_of.items()
        }


def batch_norm_layers(backbone: Backbone) -> dict[str, list[_BatchNorm]]:
    """Return the BatchNorm layers with running statistics by stage, from shallow to deep, without empty stages."""
    layers_of = {
        stage: [
            layer
            for name in names
            for layer in backbone.get_submodule(name).modules()
            if isinstance(layer, _BatchNorm) and layer.running_mean is not None
        ]
        for stage, names in backbone.stage_modules.items()
    }
    return {stage: layers for stage, layers in layers_of.items() if layers}


def _distance(layer: _BatchNorm, moments: ChannelMoments) -> Tensor:
    """Return the mean distance over a layer's channels, a scalar."""
    assert layer.running_mean is not None
    assert layer.running_var is not None
    mean, variance = moments.result()
    return squared_hellinger(mean, variance, layer.running_mean.to(mean), layer.running_var.to(mean)).mean()
