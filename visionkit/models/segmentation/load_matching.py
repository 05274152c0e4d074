"""Values of a segmentation network from a file of another one."""

import logging
from pathlib import Path

from torch import nn

from visionkit.backbones.base import Backbone
from visionkit.models.load_model import load_strict, read_model_weights

logger = logging.getLogger("visionkit")


def load_matching(network: nn.Module, backbone: Backbone, path: Path) -> None:
    """Load the backbone and those other values that have the same name and shape, as FCN-8s begins with FCN-16s.

    Args:
        network: filled in place.
        backbone: its backbone, which the file must fill as a whole.
        path: of a visionkit checkpoint or a plain state dict.

    Raises:
        CheckpointError: the file cannot be read, or its backbone is another one.
    """
    values = read_model_weights(path)
    own = network.state_dict()
    of_backbone = {f"backbone.{key}" for key in backbone.state_dict()}
    fitting = {
        key: value
        for key, value in values.state.items()
        if key.startswith("backbone.") or (key in own and value.shape == own[key].shape)
    }
    new = [key for key in own if key not in fitting and key not in of_backbone]
    if new:
        logger.warning("%s does not hold all of %s: %s stay new", path, type(network).__name__, ", ".join(new))
    load_strict(network, {**{key: own[key] for key in new}, **fitting}, values.source)
    values.record(backbone)
