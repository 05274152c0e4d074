"""A deeper VGG from a trained shallower one (Simonyan & Zisserman 2014, section 3.1)."""

import logging
from pathlib import Path

import torch
from torch import Tensor

from visionkit.backbones.base import Backbone, backbones, refusal
from visionkit.backbones.load_backbone import read_backbone_weights
from visionkit.backbones.vgg import VGG
from visionkit.errors import CheckpointError, ConfigError

CONVOLUTIONS = 4
"""How many the paper takes over, from the image on; the fully connected layers come besides."""

logger = logging.getLogger("visionkit")


def initialize_from_shallower_vgg(backbone: Backbone, path: Path) -> None:
    """Take the first four convolutions of the VGG in a file, with their BatchNorms; the rest stays random.

    A layer goes where the paper's table 1 has it: conv3_1 to conv3_1, whatever stands before it.

    Args:
        backbone: a VGG, all of which trains.
        path: a published state dict or a visionkit checkpoint of another VGG.

    Raises:
        ConfigError: `backbone` is no VGG, or some of it would be fixed over random values.
        CheckpointError: the file cannot be read, or holds no VGG, or one that lacks what this one has or the reverse.
    """
    if not isinstance(backbone, VGG):
        raise ConfigError(f"model.weights={{from: {path}}} grows a VGG from a shallower one, not {backbone.name}")
    if backbone.frozen_stages or backbone.norm != "trained":
        raise ConfigError(refusal(backbone.name, f"frozen_stages={backbone.frozen_stages}, norm={backbone.norm}"))
    values = read_backbone_weights(backbone, path)
    source = _vgg_of(values.state, path)
    targets = backbone.layers_by_name()
    places = dict(list(source.layers_by_name().items())[:CONVOLUTIONS])
    for place, modules in places.items():
        if len(targets.get(place, [])) != len(modules):
            raise CheckpointError(
                f"{backbone.name} cannot grow from {source.name} in {path}: {place} is not the same in both.\n"
                "Take a shallower VGG, with BatchNorm or without as this one"
            )
    for place, modules in places.items():
        for theirs, own in zip(modules, targets[place], strict=True):
            _copy(values.state, f"{theirs}.", backbone.get_submodule(own))
    values.record(backbone)
    backbone.is_randomly_initialized = True  # most of them are
    rest = [place for place in targets if place not in places]
    logger.info("%s (%s) gave %s; %s stay random", path, source.name, ", ".join(places), ", ".join(rest))


def _vgg_of(state: dict[str, Tensor], path: Path) -> VGG:
    """The VGG whose values `state` holds, without values of its own; told by its keys and their shapes."""
    shapes = {key: value.shape for key, value in state.items()}
    for name in backbones:
        if backbones.get(name) is VGG:
            with torch.device("meta"):
                known = VGG(name)
            if {key: value.shape for key, value in known.state_dict().items()} == shapes:
                return known
    raise CheckpointError(f"{path} holds no VGG whose layers could be taken over")


def _copy(state: dict[str, Tensor], prefix: str, layer: torch.nn.Module) -> None:
    layer.load_state_dict({key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)})
