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
