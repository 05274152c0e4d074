"""Reading the pickles of CIFAR without running any code that they name.

A pickle may call any function of any module. Here, placeholder classes replace the three names that a NumPy array is
pickled with, and every other name is refused. The arrays are then built from the bytes in the placeholders.
"""

import io
import pickle
import pickletools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visionkit.data.io.paths import read_bytes
from visionkit.errors import DataError

NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
"""The module's name before and since NumPy 2."""

MEMO_OPCODES = {"PUT", "BINPUT", "LONG_BINPUT"}


class _TypePlaceholder:
    """Replaces `numpy.dtype`, and the class `numpy.ndarray`, which is not needed."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None:
        """Ignore the byte order and the other properties that single bytes do not have."""


class _ArrayPlaceholder:
    """Replaces an array: holds its shape, data type, memory order and bytes."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def to_array(self) -> NDArray[np.uint8]:
        _, shape, dtype, is_fortran_order, data = self.state
        if not isinstance(dtype, _TypePlaceholder) or dtype.code not in (b"u1", "u1") or not isinstance(data, bytes):
            raise ValueError("an array is not of bytes")
        return np.frombuffer(data, np.uint8).reshape(shape, order="F" if is_fortran_order else "C")


ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    **{(module, "_reconstruct"): _ArrayPlaceholder for module in NUMPY},
    ("numpy", "ndarray"): _TypePlaceholder,
    ("numpy", "dtype"): _TypePlaceholder,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise DataError(f"it names {module}.{name}, which no array of bytes needs; no code of it was run")
        return ALLOWED[module, name]


def read_pickle(path: Path) -> Any:
    """Return the content of a pickle of dicts, lists, numbers, strings and uint8 arrays.

    Strings of Python 2 are returned as bytes.

    Raises:
        DataError: the file is broken, or names anything else.
    """
    try:
        data = read_bytes(path, "pickle")
        _check_memo(data)
        return _with_arrays(_Unpickler(io.BytesIO(data), encoding="bytes").load())
    except DataError as error:
        raise DataError(f"{path} is refused: {error}") from error
    except Exception as error:  # a broken pickle can raise anything, depending on its opcodes
        raise DataError(f"{path} cannot be read as a pickle: {(str(error).splitlines() or [''])[0][:160]}") from error


def _check_memo(data: bytes) -> None:
    """Check the numbers under which a pickle stores its values. For a large number, Python allocates as much memory."""
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in MEMO_OPCODES and isinstance(argument, int) and argument > len(data):
            raise DataError(f"it numbers a value {argument}, although it has only {len(data)} bytes")


def _with_arrays(content: Any) -> Any:
    """Return the content with arrays in place of the placeholders among the values of a dict."""
    if isinstance(content, dict):
        return {
            key: value.to_array() if isinstance(value, _ArrayPlaceholder) else value for key, value in content.items()
        }
    return content
