"""A network in place of a pretrained one, and the images it was trained on."""

import torch

from visionkit.backbones import create_backbone
from visionkit.backbones.base import norm_layers

IMAGES = torch.randn(6, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def pretrained(name="resnet18"):
    """A network in place of a pretrained one: its statistics are those of `IMAGES`."""
    backbone = create_backbone(name, weights="none")
    backbone.is_randomly_initialized = False
    for layer in norm_layers(backbone):
        layer.momentum = 1.0
    with torch.no_grad():
        backbone.train()(IMAGES)
    return backbone
