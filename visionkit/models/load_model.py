"""Load the weights of a whole model from a file, without unpickling objects; all of them must fit."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor, nn

from visionkit.backbones.base import Backbone
from visionkit.backbones.weights_file import (
    LoadedWeights,
    Normalization,
    StateDict,
    is_checkpoint,
    normalization_in,
    read_tensors,
)
from visionkit.errors import CheckpointError

logger = logging.getLogger("visionkit")


def load_model_weights(
    network: nn.Module,
    backbone: Backbone,
    path: str | Path,
    predictors: tuple[str, ...],
    translate: Callable[[StateDict], StateDict] = dict,
    normalization: Normalization | None = None,
) -> None:
    """Load the weights of a whole model in place, and set its backbone's normalization.

    If the file has another number of classes, the predictors stay randomly initialized, which is logged.

    Args:
        network: the model.
        backbone: its backbone.
        path: see `read_model_weights`.
        predictors: prefixes of the keys whose first dimension depends on the number of classes ("classifier.").
        translate: see `read_model_weights`.
        normalization: see `read_model_weights`.

    Raises:
        CheckpointError: the file cannot be read, or holds another model; the model is unchanged.
    """
    weights, own = read_model_weights(path, translate, normalization), network.state_dict()
    shared = [key for key in weights.state if key in own and key.startswith(predictors)]
    shapes = {key: (weights.state[key].shape, own[key].shape) for key in shared}
    kept = [key for key, (theirs, ours) in shapes.items() if theirs != ours and theirs[1:] == ours[1:]]
    if kept:
        layers = dict.fromkeys(key.rpartition(".")[0] for key in kept)
        logger.warning("%s has another number of classes: %s stay randomly initialized", path, ", ".join(layers))
    else:
        logger.info("%s: loaded all weights of the model", path)
    load_strict(network, {**weights.state, **{key: own[key] for key in kept}}, weights.source)
    weights.record(backbone)


def read_model_weights(
    path: str | Path, translate: Callable[[StateDict], StateDict] = dict, normalization: Normalization | None = None
) -> LoadedWeights:
    """Read the weights of a whole model from a file onto the CPU.

    Args:
        path: path of a visionkit checkpoint, or of a plain state dict.
        translate: renames the keys of a plain state dict; those of a visionkit checkpoint are not renamed.
        normalization: normalization that belongs to a plain state dict whose keys were renamed.

    Raises:
        CheckpointError: the file is missing, broken, or holds anything but named tensors.
    """
    path = Path(path).expanduser()
    content = read_tensors(path)
    if is_checkpoint(content):
        prefix, entries = "pipeline.network.", content["state_dict"].items()
        state = {key.removeprefix(prefix): value for key, value in entries if key.startswith(prefix)}
        return LoadedWeights(state, str(path), normalization_in(content))
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]  # torchvision's training scripts save {"model": ..., "optimizer": ..., ...}
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"{path} holds neither a state dict nor a visionkit checkpoint")
    state = translate(dict(content))
    return LoadedWeights(state, str(path), normalization if state.keys() != content.keys() else None)


def load_strict(network: nn.Module, state: StateDict, source: str) -> None:
    """Load `state` into `network`; it must have all parameters of the network and no others.

    BatchNorm's counter of batches may be missing: frozen layers do not save it, and the result does not depend on it.

    Raises:
        CheckpointError: keys are missing, unknown, or of another shape; the network is unchanged.
    """
    own = network.state_dict()
    shapes = {key: f"{key} {list(state[key].shape)}" for key in own.keys() & state.keys()}
    problems = {
        "missing": sorted(key for key in own.keys() - state.keys() if not key.endswith("num_batches_tracked")),
        "unknown": sorted(state.keys() - own.keys()),
        "of another shape": sorted(text for key, text in shapes.items() if own[key].shape != state[key].shape),
    }
    lines = [f"{kind} ({len(keys)}): {', '.join(keys[:3])}" for kind, keys in problems.items() if keys]
    if lines:
        raise CheckpointError("\n".join([f"{source} does not fit {type(network).__name__}", *lines]))
    network.load_state_dict(state, strict=False)
