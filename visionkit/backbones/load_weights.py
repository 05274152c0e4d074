"""Filling a backbone with values: ImageNet weights, a file, or a checkpoint of any task."""

import logging
import pickle
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from visionkit.backbones.base import RANDOM, Backbone
from visionkit.backbones.pretrained import UnavailableError
from visionkit.errors import CheckpointError
from visionkit.registry import Registry

sources: Registry[Callable[[Backbone], str]] = Registry("source of weights")
"""The words that `weights:` knows beside paths; each fills a backbone and returns where the values came from."""

logger = logging.getLogger("visionkit")

State = dict[str, Tensor]

_BACKBONE_PREFIX = re.compile(r"^(?:.+?\.)?backbone\.")
_NOT_LEARNED = "num_batches_tracked"
"""BatchNorm's counter takes no part in the result, and older files lack it."""


class Statistics(NamedTuple):
    """Normalization of images, see `Backbone`."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Values:
    """What a file holds for a network.

    Attributes:
        state: tensors under the network's own keys.
        source: the file.
        statistics: of the images that they learned from, where the file tells.
    """

    state: State
    source: str
    statistics: Statistics | None = None

    def record(self, backbone: Backbone) -> None:
        """Note in `backbone` that these are its values now, and how images are normalized for them."""
        backbone.initialized_from, backbone.is_randomly_initialized = self.source, False
        if self.statistics is not None and self.statistics != (backbone.mean, backbone.std):
            backbone.mean, backbone.std = self.statistics
            mean, std = (", ".join(f"{value:.4g}" for value in values) for values in self.statistics)
            logger.info(
                "%s learned from images less %s, divided by %s: so are these, unless told", self.source, mean, std
            )


def fill(backbone: Backbone, weights: str) -> None:
    """Give `backbone` the values that `weights` names.

    Args:
        backbone: network with random values.
        weights: auto, imagenet, none, checkpoint (the caller is about to load them), or the path of a file.

    Raises:
        UnavailableError: ImageNet weights are neither on disk nor can they be fetched.
        CheckpointError: a file is missing, cannot be read, or belongs to another network.
    """
    if weights in sources:
        backbone.initialized_from = sources.get(weights)(backbone)
    else:
        load_file(backbone, Path(weights).expanduser())
    backbone.is_randomly_initialized = backbone.initialized_from == RANDOM


@sources.register("none")
def _leave_random(backbone: Backbone) -> str:
    return RANDOM


@sources.register("checkpoint")
def _leave_to_the_caller(backbone: Backbone) -> str:
    return "checkpoint"


@sources.register("auto", "imagenet")
def _fill_from_imagenet(backbone: Backbone) -> str:
    published = backbone.published_weights()
    if published is None:
        raise UnavailableError(f"nobody publishes ImageNet weights of {backbone.name}: give a file, or weights=none")
    load_file(backbone, published.obtain())
    return "imagenet"


def load_file(backbone: Backbone, path: Path) -> None:
    """Load a backbone's values from a published state dict, or from a visionkit checkpoint of any task.

    A backbone that stops early leaves the deeper stages of the file aside; otherwise every key must fit. A checkpoint
    brings the normalization of its images along.

    Raises:
        CheckpointError: the file is missing, broken, or for another network; names keys that differ. Nothing has
            been changed then.
    """
    values = read_weights_for(backbone, path)
    _check_fit(backbone, values.state, path)
    own = backbone.state_dict().keys()
    backbone.load_state_dict({key: value for key, value in values.state.items() if key in own}, strict=False)
    values.record(backbone)


def read_weights_for(backbone: Backbone, path: Path) -> Values:
    """What a file holds for a backbone of this family, under its own keys; not yet compared with it.

    Raises:
        CheckpointError: the file is missing or broken, or holds no backbone, or several.
    """
    content = read_tensors(path)
    if is_checkpoint(content):
        return Values(_from_checkpoint(content["state_dict"], path), str(path), statistics_in(content))
    return Values(backbone.translate(_as_state(content, path)), str(path))


def is_checkpoint(content: Any) -> bool:
    """Whether a file with this content was written by visionkit."""
    parts = ("visionkit", "state_dict")
    return isinstance(content, Mapping) and all(isinstance(content.get(part), Mapping) for part in parts)


def statistics_in(checkpoint: Mapping[str, Any]) -> Statistics | None:
    """How a visionkit checkpoint's images were normalized."""
    options = checkpoint["visionkit"].get("preprocess", {})
    mean, std = options.get("mean"), options.get("std")
    return Statistics(tuple(mean), tuple(std)) if mean and std else None


def read_tensors(path: Path) -> Any:
    """What a weights file (of torch, or safetensors) holds, on the CPU; never unpickled.

    Raises:
        CheckpointError: the file is missing, truncated, or holds more than tensors and plain values.
    """
    if not path.is_file():
        raise CheckpointError(
            f"there is no weights file {str(path)!r}\nweights: auto, imagenet, none, or the path of a file"
        )
    try:
        if path.suffix == ".safetensors":
            return _read_safetensors(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, ValueError, LookupError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{path} cannot be read: it is truncated, or holds more than plain tensors and values\n({reason[:160]})"
        ) from error


def _read_safetensors(path: Path) -> State:
    from safetensors import SafetensorError  # comes with timm, which alone publishes such files
    from safetensors.torch import load_file as load_safetensors

    try:
        return dict(load_safetensors(path))
    except SafetensorError as error:
        raise ValueError(str(error)) from error


def _check_fit(backbone: Backbone, state: Mapping[str, Tensor], path: Path) -> None:
    own = backbone.state_dict()
    missing = [key for key in own if key not in state and not key.endswith(_NOT_LEARNED)]
    unknown = [key for key in state if key not in own]
    if unknown:  # perhaps of stages that this backbone was built without
        whole = backbone.keys_of_whole_network()
        unknown = [key for key in unknown if key not in whole]
    reshaped = [
        f"{key} {list(state[key].shape)} for {list(own[key].shape)}"
        for key in own
        if key in state and state[key].shape != own[key].shape
    ]
    differences = {"missing from it": missing, "unknown": unknown, "of another shape": reshaped}
    told = [f"{what} ({len(keys)}): {', '.join(keys[:3])}" for what, keys in differences.items() if keys]
    if told:
        raise CheckpointError("\n".join([f"{path} holds weights of another network than {backbone.name}", *told]))


def _as_state(content: Any, path: Path) -> State:
    """A plain state dict, also one that a training script has put under "state_dict" or "model"."""
    wrapped = [content[key] for key in ("state_dict", "model") if isinstance(content, Mapping) and key in content]
    state = wrapped[0] if wrapped and isinstance(wrapped[0], Mapping) else content
    if not isinstance(state, Mapping) or not state or not all(isinstance(v, Tensor) for v in state.values()):
        raise CheckpointError(f"{path} holds no state dict of a network and no visionkit checkpoint")
    return dict(state)


def _from_checkpoint(state: Mapping[str, Tensor], path: Path) -> State:
    """The entries of a task's state dict that belong to its backbone, under the backbone's own keys."""
    found: dict[str, State] = {}
    for key, value in state.items():
        if prefix := _BACKBONE_PREFIX.match(key):
            found.setdefault(prefix.group(), {})[key[prefix.end() :]] = value
    if len(found) != 1:
        number = f"{len(found)} backbones ({', '.join(found)})" if found else "no backbone"
        raise CheckpointError(f"{path} is a visionkit checkpoint with {number}; exactly one can be taken")
    return next(iter(found.values()))
