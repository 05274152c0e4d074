"""Load those weights of another segmentation model that fit."""

import logging
from pathlib import Path

from torch import nn

from visionkit.backbones.base import Backbone
from visionkit.models.load_model import load_strict, read_model_weights

logger = logging.getLogger("visionkit")


def load_matching(network: nn.Module, backbone: Backbone, path: Path) -> None:
    """Load in place the backbone and all other weights with the same name and shape, as FCN-8s from FCN-16s.

    Args:
        network: the model.
        backbone: its backbone, all weights of which must be in the file.
        path: path of a visionkit checkpoint or a plain state dict.

    Raises:
        CheckpointError: the file cannot be read, or its backbone is another one.
    """
    weights = read_model_weights(path)
    own = network.state_dict()
    of_backbone = {f"backbone.{key}" for key in backbone.state_dict()}
    matching = {
        key: value
        for key, value in weights.state.items()
        if key.startswith("backbone.") or (key in own and value.shape == own[key].shape)
    }
    missing = [key for key in own if key not in matching and key not in of_backbone]
    if missing:
        logger.warning(
            "%s does not have all weights of %s: %s stay randomly initialized",
            path,
            type(network).__name__,
            ", ".join(missing),
        )
    load_strict(network, {**{key: own[key] for key in missing}, **matching}, weights.source)
    weights.record(backbone)
