"""Small ways to build what the tests of the classifier look at."""

import torch

from visionkit.backbones import create_backbone
from visionkit.models.classification.classifier import Classifier


def classifier(name, num_classes=5, **options):
    return Classifier(create_backbone(name, weights="none"), num_classes, **options)


def without_values(name, num_classes, **options):
    """The structure alone, for networks that are too large to fill."""
    with torch.device("meta"):
        return classifier(name, num_classes, **options)


def randomized(network):
    """Statistics and affine of the norms, too, differ from their start, so that no test can pass without them."""
    for value in network.state_dict().values():
        if value.ndim == 1 and value.is_floating_point():
            value.uniform_(0.5, 1.5)
    return network
