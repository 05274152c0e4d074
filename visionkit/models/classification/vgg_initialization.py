"""Initialize a deep VGG with layers of a trained shallower one (Simonyan & Zisserman 2014, section 3.1)."""

import logging
from pathlib import Path

import torch
from torch import Tensor

from visionkit.backbones.base import Backbone, backbones, random_freeze_message
from visionkit.backbones.load_backbone import read_backbone_weights
from visionkit.backbones.vgg import VGG
from visionkit.errors import CheckpointError, ConfigError

CONVOLUTIONS = 4
"""Number of first convolutions that the paper copies, besides the fully connected layers."""

logger = logging.getLogger("visionkit")


def initialize_from_shallower_vgg(backbone: Backbone, path: Path) -> None:
    """Copy the first four convolutions of the VGG in a file, with their BatchNorms, into `backbone`.

    A layer is copied to the layer of the same name in the paper's table 1: conv3_1 to conv3_1. The other layers stay
    randomly initialized.

    Args:
        backbone: a VGG without frozen layers.
        path: a published state dict or a visionkit checkpoint of another VGG.

    Raises:
        ConfigError: `backbone` is not a VGG, or randomly initialized weights would be frozen.
        CheckpointError: the file cannot be read or holds no VGG, or one of the four layers is missing in `backbone`.
    """
    if not isinstance(backbone, VGG):
        raise ConfigError(f"model.weights={{from: {path}}} initializes a VGG from a shallower one, not {backbone.name}")
    if backbone.frozen_stages or backbone.batch_norm != "trained":
        raise ConfigError(
            random_freeze_message(
                backbone.name, f"frozen_stages={backbone.frozen_stages}, batch_norm={backbone.batch_norm}"
            )
        )
    weights = read_backbone_weights(backbone, path)
    source = _vgg_of(weights.state, path)
    targets = backbone.layers_by_name()
    layers = dict(list(source.layers_by_name().items())[:CONVOLUTIONS])
    for name, modules in layers.items():
        if len(targets.get(name, [])) != len(modules):
            raise CheckpointError(
                f"{backbone.name} cannot be initialized from {source.name} in {path}: {name} is not the same in both.\n"
                "Use a shallower VGG, with BatchNorm if this one has it"
            )
    for name, modules in layers.items():
        for theirs, own in zip(modules, targets[name], strict=True):
            _copy(weights.state, f"{theirs}.", backbone.get_submodule(own))
    weights.record(backbone)
    backbone.is_randomly_initialized = True  # most of its layers are
    rest = [name for name in targets if name not in layers]
    logger.info(
        "%s: copied %s of %s; %s stay randomly initialized", path, ", ".join(layers), source.name, ", ".join(rest)
    )


def _vgg_of(state: dict[str, Tensor], path: Path) -> VGG:
    """Return the VGG that the keys and shapes of `state` belong to, on the meta device."""
    shapes = {key: value.shape for key, value in state.items()}
    for name in backbones:
        if backbones.get(name) is VGG:
            with torch.device("meta"):
                network = VGG(name)
            if {key: value.shape for key, value in network.state_dict().items()} == shapes:
                return network
    raise CheckpointError(f"{path} holds no VGG whose layers could be copied")


def _copy(state: dict[str, Tensor], prefix: str, layer: torch.nn.Module) -> None:
    layer.load_state_dict({key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)})
