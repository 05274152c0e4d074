"""Counts the operations that make a program wait for its GPU. Which ones those are can be told on a CPU.

On a GPU an operation waits if the size of its result depends on values, or if values are copied to the host, or from
memory of the host that is not pinned.
"""

import sys
from collections import Counter
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

SIZE_DEPENDS_ON_VALUES = {
    "aten::nonzero",
    "aten::masked_select",
    "aten::_unique",
    "aten::_unique2",
    "aten::unique_dim",
    "aten::unique_consecutive",
    "aten::unique_dim_consecutive",
    "aten::bincount",
}
VALUE_GOES_TO_HOST = {"aten::_local_scalar_dense", "aten::equal", "aten::is_nonzero"}
MASKS_AS_INDICES = {"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"}
COPY_TO_HOST = (Tensor.tolist, Tensor.cpu, Tensor.numpy, Tensor.__array__)
COPY_FROM_HOST = (torch.tensor, torch.as_tensor, Tensor.new_tensor)
NMS = "torchvision::nms"
"""The one operation that may wait: the number of boxes that it keeps depends on their values."""


class SyncCounter:
    """Context that counts waiting operations, forward and backward.

    Attributes:
        waits: number of waits of each operation at each line, by "operation file:line".
        nms_calls: number of calls of NMS, which wait too.
    """

    def __init__(self) -> None:
        self.waits: Counter[str] = Counter()
        self.nms_calls = 0
        self._modes = ExitStack()

    def __enter__(self) -> "SyncCounter":
        self._modes.enter_context(_Functions(self))
        self._modes.enter_context(_Operators(self))
        return self

    def __exit__(self, *error: Any) -> None:
        self._modes.__exit__(*error)

    def add(self, name: str) -> None:
        """Count an operation, with the nearest line of visionkit on the stack; a backward pass has none."""
        frame = sys._getframe(1)
        while frame is not None and ("/visionkit/" not in frame.f_code.co_filename or _is_test(frame)):
            frame = frame.f_back  # type: ignore[assignment]  # None above the last
        line = f"{frame.f_code.co_filename.rsplit('/visionkit/', 1)[1]}:{frame.f_lineno}" if frame else "backward"
        self.waits[f"{name} {line}"] += 1


class _Operators(TorchDispatchMode):
    def __init__(self, counter: SyncCounter) -> None:
        super().__init__()
        self.counter = counter

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func._schema.name, kwargs or {}
        if name == NMS:
            self.counter.nms_calls += 1
        elif _waits(name, args, kwargs):
            self.counter.add(name)
        return func(*args, **kwargs)


class _Functions(TorchFunctionMode):
    def __init__(self, counter: SyncCounter) -> None:
        super().__init__()
        self.counter = counter

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in COPY_TO_HOST or (func in COPY_FROM_HOST and (func is Tensor.new_tensor or "device" in kwargs)):
            self.counter.add(func.__name__)
        return func(*args, **kwargs)


def _waits(name: str, args: Any, kwargs: dict[str, Any]) -> bool:
    if name in MASKS_AS_INDICES:
        return any(index is not None and index.dtype in (torch.bool, torch.uint8) for index in args[1])
    if name == "aten::repeat_interleave":
        return kwargs.get("output_size") is None
    return name in SIZE_DEPENDS_ON_VALUES | VALUE_GOES_TO_HOST


def _is_test(frame: Any) -> bool:
    return "/tests/" in frame.f_code.co_filename
