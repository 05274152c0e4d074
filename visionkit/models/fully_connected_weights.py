"""Fully connected layers that begin with those of the classifier that the backbone's weights come from."""

import logging
from pathlib import Path

from torch import Tensor, nn

from visionkit.backbones.base import Backbone
from visionkit.backbones.published_weights import PublishedWeights
from visionkit.backbones.weights_file import StateDict
from visionkit.models.load_model import read_model_weights

logger = logging.getLogger("visionkit")

LAYERS = {"fc6": ("classifier.0", "head.layers.fc6"), "fc7": ("classifier.3", "head.layers.fc7")}
"""For each of a head's layers its names in torchvision's VGG and in our classifiers."""


def copy_fully_connected(head: nn.Module, backbone: Backbone) -> None:
    """Fill fc6 and fc7 of `head` from the file that filled `backbone`, where it has them in the same size.

    They may be convolutions there: over the whole map in place of fc6, of 1x1 in place of fc7.
    Nothing happens where the backbone's values are random or about to be loaded.
    """
    path = None if backbone.is_randomly_initialized else _source(backbone)
    if path is None:
        return
    state = read_model_weights(path).state
    taken = [name for name in LAYERS if _take(head.get_submodule(name), state, LAYERS[name])]
    logger.info("%s: the head begins with its %s", path, " and ".join(taken) or "own random values, for want of fc6")


def _source(backbone: Backbone) -> Path | None:
    """The file that the backbone's values came from, if it is at hand."""
    if backbone.initialized_from != "imagenet":
        return Path(backbone.initialized_from) if Path(backbone.initialized_from).is_file() else None
    published: PublishedWeights | None = backbone.published_weights()
    return None if published is None else published.on_disk()


def _take(layer: nn.Module, state: StateDict, names: tuple[str, ...]) -> bool:
    own = layer.state_dict()
    for name in names:
        found = {key: state[f"{name}.{key}"] for key in own if f"{name}.{key}" in state}
        if len(found) == len(own) and all(_matrix(found[key]).shape == _matrix(own[key]).shape for key in own):
            layer.load_state_dict({key: value.view_as(own[key]) for key, value in found.items()})
            return True
    return False


def _matrix(weight: Tensor) -> Tensor:
    """A convolution's weights as those of a linear layer that reads the flattened window; others as they are."""
    return weight.flatten(1) if weight.ndim > 1 else weight
