"""Load the weights of a whole classifier: ImageNet weights, a file, or layers of a shallower VGG."""

import logging
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from visionkit.backbones.base import Backbone
from visionkit.backbones.load_backbone import load_weights, weight_sources
from visionkit.backbones.published_weights import UnavailableError
from visionkit.errors import ConfigError
from visionkit.models.classification.heads import Head
from visionkit.models.classification.vgg_initialization import initialize_from_shallower_vgg
from visionkit.models.load_model import read_model_weights

logger = logging.getLogger("visionkit")

_HEAD = "head."
_OPTIONAL = "num_batches_tracked"


def load_classifier(backbone: Backbone, head: Head, weights: str | dict[str, str]) -> None:
    """Load the weights of a whole classifier in place.

    The backbone must fit. Those layers of the head are loaded that have the same shape in the file, which is logged.

    Args:
        backbone: the classifier's backbone.
        head: its head.
        weights: "imagenet", the path of a published state dict or of a visionkit checkpoint, or {"from": path} to
            initialize a VGG from a shallower one, see `initialize_from_shallower_vgg`.

    Raises:
        ConfigError: `weights` is something else.
        CheckpointError: the file is not available, cannot be read, or holds another network.
    """
    if isinstance(weights, str):
        path = _path_of(backbone, weights)
        load_weights(backbone, weights)
    else:
        path = _path_of_shallower(weights)
        initialize_from_shallower_vgg(backbone, path)
    load_head_layers(head, read_head_weights(head, path), str(path))


def read_head_weights(head: Head, path: Path) -> dict[str, Tensor]:
    """Return a head's weights from a file of a whole network, under the head's keys, without checking that they fit."""

    def translate(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {f"{_HEAD}{key}": value for key, value in head.translate(published).items()}

    weights = read_model_weights(path, translate)
    return {key.removeprefix(_HEAD): value for key, value in weights.state.items() if key.startswith(_HEAD)}


def load_head_layers(head: Head, state: Mapping[str, Tensor], source: str) -> None:
    """Load into `head` each layer that `state` has in the same shape, and log which."""
    layers: dict[str, list[str]] = {}
    for key in head.state_dict():
        layers.setdefault(key.rpartition(".")[0], []).append(key)
    loaded = [layer for layer, keys in layers.items() if all(_fits(head, state, key) for key in keys)]
    head.load_state_dict({key: state[key] for layer in loaded for key in layers[layer] if key in state}, strict=False)
    _log_layers(loaded, [layer for layer in layers if layer not in loaded], source)


def _fits(head: Head, state: Mapping[str, Tensor], key: str) -> bool:
    if key.endswith(_OPTIONAL) and key not in state:
        return True
    return key in state and state[key].shape == head.state_dict()[key].shape


def _log_layers(loaded: list[str], missing: list[str], source: str) -> None:
    names, rest = (", ".join(name.removeprefix("layers.") for name in names) or "none" for names in (loaded, missing))
    if missing:
        logger.warning("%s: copied %s of the head's layers; %s stay randomly initialized", source, names, rest)
    else:
        logger.info("%s: copied all layers of the head (%s)", source, names)


def _path_of(backbone: Backbone, weights: str) -> Path:
    if weights == "imagenet":
        published = backbone.published_weights()
        if published is None:
            raise UnavailableError(f"no ImageNet weights are published for {backbone.name}: give the path of a file")
        return published.obtain()
    if weights in weight_sources:
        raise ConfigError(
            f"model.weights={weights}: use imagenet, a path, or {{from: path}} for the whole model;\n"
            f"for the backbone's weights alone set model.backbone.weights={weights}"
        )
    return Path(weights).expanduser()


def _path_of_shallower(weights: Mapping[str, str]) -> Path:
    if list(weights) != ["from"]:
        raise ConfigError(
            f"model.weights={dict(weights)}: to initialize a VGG from a shallower one, write {{from: path}}"
        )
    return Path(weights["from"]).expanduser()
