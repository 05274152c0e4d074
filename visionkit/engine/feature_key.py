"""Digests of a network and its preprocessing, used as keys of cached features."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from visionkit.backbones import Backbone
from visionkit.data.digest import digest, digest_array

NOT_STRUCTURE = ("weights", "batch_norm", "frozen_stages", "initialized_from")
"""Entries of a backbone's spec about weights and training. `weights_digest` covers the weights."""


def fingerprint(version: int, structure: Mapping[str, Any], preprocess: Mapping[str, Any], weights: bytes) -> str:
    """Return a digest of everything that features depend on except the images.

    Args:
        version: version of the file format.
        structure: structure of the network; see `backbone_structure`.
        preprocess: preprocessing options and precision.
        weights: `weights_digest` of the network.
    """
    described = f"{version} {sorted(structure.items())} {sorted(preprocess.items())}"
    return digest(described.encode(), weights).hex()


def backbone_structure(backbone: Backbone) -> dict[str, Any]:
    """Return the entries of a backbone's spec that its features depend on, except the weights."""
    return {name: value for name, value in backbone.spec.items() if name not in NOT_STRUCTURE}


def weights_digest(network: nn.Module) -> bytes:
    """Return a digest of all parameters and buffers of a network."""
    state = network.state_dict()
    return digest(*(part for name in sorted(state) for part in (name.encode(), digest_array(_array(state[name])))))


def _array(values: Tensor) -> NDArray[Any]:
    """Return a tensor as an array. bfloat16, which NumPy does not support, is converted to float32."""
    values = values.detach().cpu()
    return np.asarray(values.float() if values.dtype == torch.bfloat16 else values)
