"""Initialize fully connected layers with those of the classifier that the backbone's weights come from."""

import logging
from pathlib import Path

from torch import Tensor, nn

from visionkit.backbones.base import Backbone
from visionkit.backbones.published_weights import PublishedWeights
from visionkit.backbones.weights_file import StateDict
from visionkit.models.load_model import read_model_weights

logger = logging.getLogger("visionkit")

LAYERS = {"fc6": ("classifier.0", "head.layers.fc6"), "fc7": ("classifier.3", "head.layers.fc7")}
"""For each layer of a head its names in torchvision's VGG and in visionkit's classifiers."""


def copy_fully_connected(head: nn.Module, backbone: Backbone) -> None:
    """Copy fc6 and fc7 into `head` from the file that the weights of `backbone` come from, if they have the same size.

    In `head` they may be convolutions: over the whole map for fc6, 1x1 for fc7. Nothing is copied if the backbone is
    randomly initialized, or if the file is not on disk.
    """
    path = None if backbone.is_randomly_initialized else _source(backbone)
    if path is None:
        return
    state = read_model_weights(path).state
    copied = [name for name in LAYERS if _copy(head.get_submodule(name), state, LAYERS[name])]
    if copied:
        logger.info("%s: copied %s into the head", path, " and ".join(copied))
    else:
        logger.info("%s has no fc6 of the same size: the head stays randomly initialized", path)


def _source(backbone: Backbone) -> Path | None:
    """Return the file that the backbone's weights come from, if it is on disk."""
    if backbone.initialized_from != "imagenet":
        return Path(backbone.initialized_from) if Path(backbone.initialized_from).is_file() else None
    published: PublishedWeights | None = backbone.published_weights()
    return None if published is None else published.on_disk()


def _copy(layer: nn.Module, state: StateDict, names: tuple[str, ...]) -> bool:
    """Copy into `layer` the first of the layers `names` that has the same size; return whether there is one."""
    own = layer.state_dict()
    for name in names:
        weights = {key: state[f"{name}.{key}"] for key in own if f"{name}.{key}" in state}
        if len(weights) == len(own) and all(_matrix(weights[key]).shape == _matrix(own[key]).shape for key in own):
            layer.load_state_dict({key: value.view_as(own[key]) for key, value in weights.items()})
            return True
    return False


def _matrix(weight: Tensor) -> Tensor:
    """Return a convolution's weights as those of a linear layer on the flattened window; others are unchanged."""
    return weight.flatten(1) if weight.ndim > 1 else weight
