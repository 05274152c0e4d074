"""Filling a backbone with values: ImageNet weights, a file, or a checkpoint of any task."""

import logging
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from visionkit.backbones.contract import RANDOM, Backbone
from visionkit.errors import CheckpointError
from visionkit.registry import Registry

logger = logging.getLogger("visionkit")

sources: Registry[Callable[[Backbone], str]] = Registry("source of weights")
"""The words that `weights:` knows beside paths; each fills a backbone and returns where the values came from."""


def fill(backbone: Backbone, weights: str) -> None:
    """Give `backbone` the values that `weights` names.

    Args:
        backbone: network with random values.
        weights: auto, imagenet, none, checkpoint (the caller is about to load them), or the path of a file.

    Raises:
        CheckpointError: the weights cannot be had, cannot be read, or belong to another network.
    """
    if weights in sources:
        backbone.initialised_from = sources.get(weights)(backbone)
    else:
        load_file(backbone, Path(weights))
        backbone.initialised_from = weights
    backbone.holds_random_values = backbone.initialised_from == RANDOM


@sources.register("none")
def _leave_random(backbone: Backbone) -> str:
    return RANDOM


@sources.register("checkpoint")
def _leave_to_the_caller(backbone: Backbone) -> str:
    return "checkpoint"


@sources.register("imagenet")
def _fill_from_imagenet(backbone: Backbone) -> str:
    published = backbone.published_weights()
    if published is None:
        raise CheckpointError(f"nobody publishes ImageNet weights of {backbone.name}: give a file, or weights=none")
    load_file(backbone, published.obtain())
    return "imagenet"


@sources.register("auto")
def _fill_if_possible(backbone: Backbone) -> str:
    try:
        return _fill_from_imagenet(backbone)
    except CheckpointError as error:
        logger.warning(
            "NO PRETRAINED WEIGHTS: %s starts from random values and learns far more slowly.\n%s", backbone.name, error
        )
        return RANDOM


def load_file(backbone: Backbone, path: Path) -> None:
    """Load a backbone's values from a published state dict, or from a visionkit checkpoint of any task.

    Raises:
        CheckpointError: the file is missing, broken, or for another network; names keys that differ.
    """
    content = read_tensors(path)
    ours = isinstance(content, Mapping) and "visionkit" in content and "state_dict" in content
    state = _from_checkpoint(content["state_dict"], path) if ours else backbone.translate(_as_state(content, path))
    own = backbone.state_dict()
    # A backbone that stops early has no use for the deeper stages of the file; anything else must fit.
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    wrong = [key for key in own if key in state and state[key].shape != own[key].shape]
    if missing or wrong:
        lines = [
            f"{what} ({len(keys)}): {', '.join(keys[:3])}"
            for what, keys in (("not in the file", missing), ("of another shape", wrong))
            if keys
        ]
        raise CheckpointError("\n".join([f"{path} holds weights of another network than {backbone.name}", *lines]))
    backbone.load_state_dict({key: value for key, value in state.items() if key in own}, strict=False)


def read_tensors(path: Path) -> Any:
    """What a weights file holds, on the CPU; never unpickled.

    Raises:
        CheckpointError: the file is missing, truncated, or holds more than tensors and plain values.
    """
    if not path.is_file():
        raise CheckpointError(f"there is no weights file {path}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, pickle.UnpicklingError, ValueError, KeyError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(
            f"{path} cannot be read: it is truncated, or holds more than plain tensors and values\n({reason[:160]})"
        ) from error


def _as_state(content: Any, path: Path) -> dict[str, Tensor]:
    if isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise CheckpointError(f"{path} holds no state dict of a network and no visionkit checkpoint")
    return dict(content)


def _from_checkpoint(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The entries of a task's state dict that belong to its backbone, under the backbone's own keys."""
    prefix = "network.backbone."
    found = {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}
    if not found:
        raise CheckpointError(f"{path} is a visionkit checkpoint without a backbone")
    return found
