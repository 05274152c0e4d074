"""Loading the weights of a backbone: ImageNet weights, a file, or a checkpoint of any task."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from torch import Tensor

from visionkit.backbones.base import RANDOM, Backbone
from visionkit.backbones.published_weights import UnpublishedError
from visionkit.backbones.weights_file import (
    LoadedWeights,
    StateDict,
    as_state_dict,
    is_checkpoint,
    normalization_in,
    read_tensors,
)
from visionkit.errors import CheckpointError
from visionkit.registry import Registry

weight_sources: Registry[Callable[[Backbone], str]] = Registry("source of weights")
"""What `weights` may be besides a path; each entry loads a backbone and returns its `initialized_from`."""

_BACKBONE_PREFIX = re.compile(r"^(?:.+?\.)?backbone\.")
_OPTIONAL = "num_batches_tracked"
"""BatchNorm's counter does not change the result, and older files lack it."""


def load_weights(backbone: Backbone, weights: str) -> None:
    """Load the weights named by `weights` into `backbone`.

    Args:
        backbone: a randomly initialized network.
        weights: auto, imagenet, none, checkpoint (the caller loads the weights afterwards), or the path of a file.

    Raises:
        UnavailableError: ImageNet weights are neither on disk nor can they be downloaded.
        CheckpointError: a file is missing, cannot be read, or belongs to another network.
    """
    if weights in weight_sources:
        backbone.initialized_from = weight_sources.get(weights)(backbone)
    else:
        load_file(backbone, Path(weights).expanduser())
    backbone.is_randomly_initialized = backbone.initialized_from == RANDOM


@weight_sources.register("none")
def _keep_random(backbone: Backbone) -> str:
    return RANDOM


@weight_sources.register("checkpoint")
def _leave_to_the_caller(backbone: Backbone) -> str:
    return "checkpoint"


@weight_sources.register("auto", "imagenet")
def _load_imagenet(backbone: Backbone) -> str:
    published = backbone.published_weights()
    if published is None:
        raise UnpublishedError(
            f"no ImageNet weights are published for {backbone.name}: give the path of a file, or weights=none"
        )
    load_file(backbone, published.obtain())
    return "imagenet"


def load_file(backbone: Backbone, path: Path) -> None:
    """Load a backbone's weights from a published state dict, or from a visionkit checkpoint of any task.

    A backbone with fewer stages than the file skips the deeper ones; every other key must fit. A checkpoint also
    sets the backbone's `mean` and `std`.

    Raises:
        CheckpointError: the file is missing, broken, or for another network. The message names keys that differ, and
            the backbone is unchanged.
    """
    weights = read_backbone_weights(backbone, path)
    _check_fit(backbone, weights.state, path)
    own = backbone.state_dict().keys()
    backbone.load_state_dict({key: value for key, value in weights.state.items() if key in own}, strict=False)
    weights.record(backbone)


def read_backbone_weights(backbone: Backbone, path: Path) -> LoadedWeights:
    """Return a file's weights under the keys of `backbone`'s family; whether they fit is not checked.

    Raises:
        CheckpointError: the file is missing or broken, or holds no backbone, or several.
    """
    content = read_tensors(path)
    if is_checkpoint(content):
        return LoadedWeights(_from_checkpoint(content["state_dict"], path), str(path), normalization_in(content))
    return LoadedWeights(backbone.translate(as_state_dict(content, path)), str(path))


def _check_fit(backbone: Backbone, state: Mapping[str, Tensor], path: Path) -> None:
    own = backbone.state_dict()
    missing = [key for key in own if key not in state and not key.endswith(_OPTIONAL)]
    unknown = [key for key in state if key not in own]
    if unknown:  # they may belong to stages that this backbone was built without
        full = backbone.full_network_keys()
        unknown = [key for key in unknown if key not in full]
    reshaped = [
        f"{key} {list(state[key].shape)} for {list(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    differences = {"missing from it": missing, "unknown": unknown, "of another shape": reshaped}
    problems = [f"{what} ({len(keys)}): {', '.join(keys[:3])}" for what, keys in differences.items() if keys]
    if problems:
        raise CheckpointError("\n".join([f"{path} holds weights of another network than {backbone.name}", *problems]))


def _from_checkpoint(state: Mapping[str, Tensor], path: Path) -> StateDict:
    """Return the entries of a task's state dict that belong to its backbone, under the backbone's own keys."""
    by_prefix: dict[str, StateDict] = {}
    for key, value in state.items():
        if prefix := _BACKBONE_PREFIX.match(key):
            by_prefix.setdefault(prefix.group(), {})[key[prefix.end() :]] = value
    if len(by_prefix) != 1:
        number = f"{len(by_prefix)} backbones ({', '.join(by_prefix)})" if by_prefix else "no backbone"
        raise CheckpointError(f"{path} is a visionkit checkpoint with {number}; it must have exactly one")
    return next(iter(by_prefix.values()))
