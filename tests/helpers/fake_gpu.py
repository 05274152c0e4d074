"""Runs a model on a GPU that does not exist: tensors have shapes, types and devices, but no values."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from tests.helpers.no_sync import NMS


class FakeNMS(TorchDispatchMode):
    """Lets NMS keep half of the boxes, and counts it and the copies between devices that are waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func._schema.name, kwargs or {}
        if name == NMS:
            self.calls[name] += 1
            return torch.arange(len(args[0]) // 2, device=args[0].device)
        result = func(*args, **kwargs)
        if name == "aten::copy_" or (name == "aten::_to_copy" and args[0].device != result.device):
            source = args[1] if name == "aten::copy_" else args[0]
            asynchronous = kwargs.get("non_blocking") or (len(args) > 2 and args[2])
            self.calls[name] += source.device != result.device and not asynchronous
        return result


@contextmanager
def fake_gpu(network: nn.Module) -> Iterator[None]:
    """Context in which a network is on a fake GPU. What needs the value of a tensor there raises an error."""
    with FakeTensorMode(allow_non_fake_inputs=True), mock.patch.object(Tensor, "pin_memory", lambda tensor: tensor):
        for module in network.modules():
            for name, parameter in module._parameters.items():
                module._parameters[name] = None if parameter is None else nn.Parameter(on_gpu(parameter))
            for name, buffer in module._buffers.items():
                module._buffers[name] = None if buffer is None else on_gpu(buffer)
        yield


def on_gpu(value: Any) -> Any:
    """Return a tensor on the fake GPU like `value` if that is a tensor, otherwise `value`."""
    if not isinstance(value, Tensor):
        return value
    return torch.empty(value.shape, dtype=value.dtype, device="cuda")
