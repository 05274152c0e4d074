"""R-CNN's network for warped regions: a backbone and two fully connected layers."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from visionkit.backbones.base import Backbone
from visionkit.errors import ConfigError
from visionkit.models.detection.parts.box_head import TwoLayerHead


class RegionFeatures(NamedTuple):
    """Features of regions.

    Attributes:
        deepest: [R, P], the flattened deepest map of the backbone (pool5).
        fc7: [R, C], output of the second fully connected layer.
    """

    deepest: Tensor
    fc7: Tensor


class RegionClassifier(nn.Module):
    """The backbone's deepest map of each warped region, flattened, and two fully connected layers.

    Args:
        backbone: backbone of the model that contains this module.
        head: the two layers.
    """

    def __init__(self, backbone: Backbone, head: TwoLayerHead) -> None:
        super().__init__()
        self.layers = head
        # Not registered as a submodule: the backbone belongs to the model, and a state dict has its weights once.
        self.__dict__["backbone"] = backbone

    def forward(self, x: Tensor) -> Tensor:
        """Return fc7 [R, C] of warped regions [R, 3, size, size]."""
        return self.compute_features(x).fc7

    def compute_features(self, x: Tensor) -> RegionFeatures:
        """Return both features of warped regions [R, 3, size, size]; R may be 0."""
        if not len(x):
            return self._empty_features(x)
        *_, deepest = self.__dict__["backbone"](x.contiguous(memory_format=torch.channels_last)).values()
        return RegionFeatures(deepest.flatten(1), self.layers(deepest))

    def _empty_features(self, x: Tensor) -> RegionFeatures:
        """Return features of 0 regions whose graph contains all parameters: DDP waits for the gradient of each."""
        parameters = (*self.__dict__["backbone"].parameters(), *self.parameters())
        zero = torch.stack([parameter.sum() for parameter in parameters]).sum()
        lengths = (self.layers.fc6.in_features, self.layers.fc7.out_features)
        return RegionFeatures(*(x.new_zeros(0, length) + zero for length in lengths))


def deepest_map_values(backbone: Backbone, size: int) -> int:
    """Return the number of values of the deepest map of an image of `size` x `size` pixels.

    Raises:
        ConfigError: the image is too small for the backbone.
    """
    mode = backbone.training
    try:
        with torch.no_grad():
            image = torch.zeros(1, 3, size, size, device=next(backbone.parameters()).device)
            *_, deepest = backbone.eval()(image).values()
    except RuntimeError as error:
        raise ConfigError(f"warp_size={size} is too small: the maps of {backbone.name} would be empty") from error
    finally:
        backbone.train(mode)
    return deepest[0].numel()
