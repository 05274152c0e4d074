"""Networks whose parameters have no storage until weights are loaded, which avoids random initialization."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook


@contextmanager
def parameters_without_storage() -> Iterator[None]:
    """Create parameters of modules that this thread builds on the meta device; buffers are created as usual."""
    thread = threading.get_ident()

    def to_meta(module: nn.Module, name: str, parameter: nn.Parameter | None) -> Any:  # torch declares only None
        if parameter is None or parameter.is_meta or threading.get_ident() != thread:
            return None  # keep it
        return nn.Parameter(torch.empty_like(parameter, device="meta"), requires_grad=parameter.requires_grad)

    handle = register_module_parameter_registration_hook(to_meta)
    try:
        yield
    finally:
        handle.remove()


def has_shared_parameters(network: nn.Module) -> bool:
    """Return whether a parameter has several names. Loading would give each name its own tensor."""
    return len(list(network.named_parameters(remove_duplicate=False))) > len(list(network.parameters()))


def load_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Load a state dict. Parameters without storage become the tensors of `weights`; other parameters are overwritten.

    Raises:
        RuntimeError: names or shapes differ; see `torch.nn.Module.load_state_dict`.
    """
    parameters = dict(module.named_parameters())
    if not any(parameter.is_meta for parameter in parameters.values()):
        module.load_state_dict(weights)
        return
    present = module.state_dict()
    module.load_state_dict({key: _like(value, present.get(key)) for key, value in weights.items()}, assign=True)


def _like(value: Tensor, present: Tensor | None) -> Tensor:
    """Return `value` with the type and memory layout of the tensor that it replaces."""
    if present is None or value.shape != present.shape:  # load_state_dict reports it
        return value
    if value.dtype == present.dtype and value.stride() == present.stride():
        return value
    return torch.empty_strided(present.size(), present.stride(), dtype=present.dtype).copy_(value)
