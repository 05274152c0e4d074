"""Builders for the tests of the classifier."""

import torch

from visionkit.backbones import create_backbone
from visionkit.models.classification.classifier import Classifier


def classifier(name, num_classes=5, **options):
    return Classifier(create_backbone(name, weights="none"), num_classes, **options)


def without_values(name, num_classes, **options):
    """Build a network on the meta device, without memory for its weights."""
    with torch.device("meta"):
        return classifier(name, num_classes, **options)


def randomized(network):
    """Change statistics and affine parameters of the norms from their initial values, so that tests depend on them."""
    for value in network.state_dict().values():
        if value.ndim == 1 and value.is_floating_point():
            value.uniform_(0.5, 1.5)
    return network
