"""Reading the values of a whole network from a file: never unpickled, never copied in parts that do not fit."""

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
    """Load a whole network, and how its images are normalized.

    Where the file knows another number of classes, what predicts them keeps its fresh values; this is logged, and no
    row of it is copied.

    Args:
        network: filled in place.
        backbone: its backbone.
        path: see `read_model_weights`.
        predictors: beginnings of the keys whose first dimension follows from the number of classes ("classifier.").
        translate: see `read_model_weights`.
        normalization: likewise.

    Raises:
        CheckpointError: the file cannot be read, or holds another network; nothing has been changed then.
    """
    values, own = read_model_weights(path, translate, normalization), network.state_dict()
    shared = [key for key in values.state if key in own and key.startswith(predictors)]
    shapes = {key: (values.state[key].shape, own[key].shape) for key in shared}
    new = [key for key, (theirs, ours) in shapes.items() if theirs != ours and theirs[1:] == ours[1:]]
    if new:
        layers = dict.fromkeys(key.rpartition(".")[0] for key in new)
        logger.warning("%s knows another number of classes: %s stay new", path, ", ".join(layers))
    else:
        logger.info("%s: the whole network is loaded, with what predicts its classes", path)
    load_strict(network, {**values.state, **{key: own[key] for key in new}}, values.source)
    values.record(backbone)


def read_model_weights(
    path: str | Path, translate: Callable[[StateDict], StateDict] = dict, normalization: Normalization | None = None
) -> LoadedWeights:
    """Read the values of a whole network onto the CPU.

    Args:
        path: of a checkpoint of visionkit, or of a plain state dict.
        translate: renames the keys of a plain state dict; those of our own checkpoint need none.
        normalization: of the images behind a plain state dict whose keys had to be renamed.

    Raises:
        CheckpointError: the file is missing, broken, or holds anything but tensors under names.
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
    """Load `state` into `network`; every parameter must be in it, and nothing else.

    BatchNorm's counter of batches may be missing: frozen layers do not save it, and it takes no part in the result.

    Raises:
        CheckpointError: keys are missing, unknown, or of another shape; nothing has been changed then.
    """
    own = network.state_dict()
    shapes = {key: f"{key} {list(state[key].shape)}" for key in own.keys() & state.keys()}
    problems = {
        "missing": sorted(key for key in own.keys() - state.keys() if not key.endswith("num_batches_tracked")),
        "unknown": sorted(state.keys() - own.keys()),
        "of another shape": sorted(text for key, text in shapes.items() if own[key].shape != state[key].shape),
    }
    found = [f"{kind} ({len(keys)}): {', '.join(keys[:3])}" for kind, keys in problems.items() if keys]
    if found:
        raise CheckpointError("\n".join([f"{source} does not fit {type(network).__name__}", *found]))
    network.load_state_dict(state, strict=False)
