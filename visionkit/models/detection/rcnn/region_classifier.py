"""R-CNN's network on warped regions: the backbone's deepest map of each, and two fully connected layers on it."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from visionkit.backbones.base import Backbone
from visionkit.errors import ConfigError
from visionkit.models.detection.parts.box_head import TwoLayerHead


class RegionFeatures(NamedTuple):
    """What a network sees in regions.

    Attributes:
        deepest: [R, P], the flattened deepest map (pool5).
        fc7: [R, C], what the second of the fully connected layers makes of it.
    """

    deepest: Tensor
    fc7: Tensor


class RegionClassifier(nn.Module):
    """A backbone's deepest map of each warped region, flattened, and two fully connected layers.

    Args:
        backbone: of the network that holds this.
        head: the two layers.
    """

    def __init__(self, backbone: Backbone, head: TwoLayerHead) -> None:
        super().__init__()
        self.layers = head
        # Not registered: the backbone belongs to the network, and its values stand in a state dict once.
        self.__dict__["backbone"] = backbone

    def forward(self, x: Tensor) -> Tensor:
        """From [R, 3, size, size] to [R, C]."""
        return self.describe(x).fc7

    def describe(self, x: Tensor) -> RegionFeatures:
        """Both features of regions [R, 3, size, size]; R may be 0."""
        if not len(x):
            return self._of_nothing(x)
        *_, deepest = self.__dict__["backbone"](x.contiguous(memory_format=torch.channels_last)).values()
        return RegionFeatures(deepest.flatten(1), self.layers(deepest))

    def _of_nothing(self, x: Tensor) -> RegionFeatures:
        """Features of no region, with all parameters in their graph: other processes wait for the gradient of each."""
        parameters = (*self.__dict__["backbone"].parameters(), *self.parameters())
        touched = torch.stack([values.sum() for values in parameters]).sum()
        sizes = (self.inputs, self.layers.fc7.out_features)
        return RegionFeatures(*(x.new_zeros(0, values) + touched for values in sizes))

    @property
    def inputs(self) -> int:
        """P, the values of one deepest map."""
        return self.layers.fc6.in_features


def values_of_deepest(backbone: Backbone, size: int) -> int:
    """How many values the deepest map of a square image has.

    Raises:
        ConfigError: the image is too small for the network.
    """
    mode = backbone.training
    try:
        with torch.no_grad():
            blank = torch.zeros(1, 3, size, size, device=next(backbone.parameters()).device)
            *_, deepest = backbone.eval()(blank).values()
    except RuntimeError as error:
        raise ConfigError(f"warp_size={size}: {backbone.name} has nothing left of so small an image") from error
    finally:
        backbone.train(mode)
    return deepest[0].numel()
