"""Values of a whole segmentation network from a file."""

import logging
from collections.abc import Callable
from pathlib import Path

from torch import nn

from visionkit.backbones.contract import Backbone
from visionkit.models.weights import State, load_whole, read_state

logger = logging.getLogger("visionkit")


def load_segmenter(
    network: nn.Module,
    backbone: Backbone,
    path: Path,
    last_layers: tuple[str, ...],
    translate: Callable[[State], State] = dict,
) -> None:
    """Load a whole segmentation network.

    Where the file knows another number of classes, the last layers keep their fresh values; this is logged, and no row
    of them is copied.

    Args:
        network: filled in place.
        backbone: its backbone.
        path: of a visionkit checkpoint or a plain state dict.
        last_layers: prefixes of the keys whose shapes depend on the classes ("classifier.").
        translate: renames the keys of a plain state dict.

    Raises:
        CheckpointError: the file cannot be read, or holds another network.
    """
    state = read_state(path.expanduser(), translate)
    own = network.state_dict()
    differing = [
        key
        for key in state
        if key in own and key.startswith(last_layers) and state[key].shape[1:] == own[key].shape[1:]
        if len(state[key]) != len(own[key])
    ]
    if differing:
        logger.warning("%s knows other classes: %s stay new", path, ", ".join(differing))
        state.update({key: own[key] for key in differing})
    load_whole(network, state, str(path))
    backbone.initialised_from, backbone.holds_random_values = str(path), False


def load_what_fits(network: nn.Module, backbone: Backbone, path: Path) -> None:
    """Load the backbone and those other values that have the same name and shape, as FCN-8s begins with FCN-16s.

    Args:
        network: filled in place.
        backbone: its backbone, which the file must fill as a whole.
        path: of a visionkit checkpoint or a plain state dict.

    Raises:
        CheckpointError: the file cannot be read, or its backbone is another one.
    """
    state = read_state(path.expanduser(), dict)
    own = network.state_dict()
    of_backbone = {f"backbone.{key}" for key in backbone.state_dict()}
    fitting = {
        key: value
        for key, value in state.items()
        if key.startswith("backbone.") or (key in own and value.shape == own[key].shape)
    }
    new = [key for key in own if key not in fitting and key not in of_backbone]
    if new:
        logger.warning("%s does not hold all of %s: %s stay new", path, type(network).__name__, ", ".join(new))
    load_whole(network, {**{key: own[key] for key in new}, **fitting}, str(path))
    backbone.initialised_from, backbone.holds_random_values = str(path), False
