"""Values of a whole classifier: ImageNet's, a file's, or those of a shallower network that it grows from."""

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

_OURS = "head."
_NOT_LEARNED = "num_batches_tracked"


def load_classifier(backbone: Backbone, head: Head, weights: str | dict[str, str]) -> None:
    """Load a whole classifier. The backbone must fit; of the head those layers are taken that do, which is logged.

    Args:
        backbone: filled with the file's values.
        head: filled as far as its layers have the shape of the file's.
        weights: imagenet, the path of a published state dict or of a visionkit checkpoint, or {"from": path} to grow
            a VGG from a shallower one, see `initialize_from_shallower_vgg`.

    Raises:
        ConfigError: `weights` is something else.
        CheckpointError: the file cannot be had or read, or holds another network.
    """
    if isinstance(weights, str):
        path = _path_of(backbone, weights)
        load_weights(backbone, weights)
    else:
        path = _path_to_grow_from(weights)
        initialize_from_shallower_vgg(backbone, path)
    load_head_layers(head, read_head_weights(head, path), str(path))


def read_head_weights(head: Head, path: Path) -> dict[str, Tensor]:
    """Return a head's weights from a file of a whole network, under the head's keys, without checking that they fit."""

    def translate(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {f"{_OURS}{key}": value for key, value in head.translate(published).items()}

    weights = read_model_weights(path, translate)
    return {key.removeprefix(_OURS): value for key, value in weights.state.items() if key.startswith(_OURS)}


def load_head_layers(head: Head, state: Mapping[str, Tensor], source: str) -> None:
    """Load into `head` each layer that `state` has in the same shape; the others keep their values."""
    layers: dict[str, list[str]] = {}
    for key in head.state_dict():
        layers.setdefault(key.rpartition(".")[0], []).append(key)
    taken = [layer for layer, keys in layers.items() if all(_fits(head, state, key) for key in keys)]
    head.load_state_dict({key: state[key] for layer in taken for key in layers[layer] if key in state}, strict=False)
    _tell(taken, [layer for layer in layers if layer not in taken], source)


def _fits(head: Head, state: Mapping[str, Tensor], key: str) -> bool:
    if key.endswith(_NOT_LEARNED) and key not in state:
        return True
    return key in state and state[key].shape == head.state_dict()[key].shape


def _tell(taken: list[str], new: list[str], source: str) -> None:
    names, new_names = (", ".join(name.removeprefix("layers.") for name in names) or "none" for names in (taken, new))
    if new:
        logger.warning("%s: of the head's layers it gave %s; %s stay new", source, names, new_names)
    else:
        logger.info("%s: it gave all of the head's layers, %s", source, names)


def _path_of(backbone: Backbone, weights: str) -> Path:
    if weights == "imagenet":
        published = backbone.published_weights()
        if published is None:
            raise UnavailableError(f"no ImageNet weights are published for {backbone.name}: give the path of a file")
        return published.obtain()
    if weights in weight_sources:
        raise ConfigError(
            f"model.weights={weights}: use imagenet, a path, or {{from: path}} for the whole network;\n"
            f"the backbone's values alone are model.backbone.weights={weights}"
        )
    return Path(weights).expanduser()


def _path_to_grow_from(weights: Mapping[str, str]) -> Path:
    if list(weights) != ["from"]:
        raise ConfigError(f"model.weights={dict(weights)}: to grow a VGG from a shallower one, write {{from: path}}")
    return Path(weights["from"]).expanduser()
