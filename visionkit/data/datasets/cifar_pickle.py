"""Reading a pickle of numbers, texts and byte arrays without running anything that it names.

A pickle may call any function of any module. Here the three names that a NumPy array is made of stand for plain
records, and every other name is refused; the array is then built from the record's bytes.
"""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visionkit.errors import DataError

NUMPY = ("numpy.core.multiarray", "numpy._core.multiarray")
"""The module's name before and since NumPy 2."""


class _Kind:
    """What stands for the type of an array's values, and for the class of arrays, which is not needed."""

    def __init__(self, code: Any = None, *_: Any) -> None:
        self.code = code

    def __setstate__(self, state: Any) -> None:
        """The byte order and more, which single bytes do not have."""


class _Array:
    """What stands for an array: its shape, kind, order and bytes."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def built(self) -> NDArray[np.uint8]:
        _, shape, kind, by_columns, data = self.state
        if not isinstance(kind, _Kind) or kind.code not in (b"u1", "u1") or not isinstance(data, bytes):
            raise ValueError("an array is not of bytes")
        return np.frombuffer(data, np.uint8).reshape(shape, order="F" if by_columns else "C")


ALLOWED: dict[tuple[str, str], Callable[..., Any]] = {
    **{(module, "_reconstruct"): _Array for module in NUMPY},
    ("numpy", "ndarray"): _Kind,
    ("numpy", "dtype"): _Kind,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in ALLOWED:
            raise DataError(f"it names {module}.{name}, which no array of bytes needs; nothing of it was run")
        return ALLOWED[module, name]


def read_pickle(path: Path) -> Any:
    """Read a pickle of dicts, lists, numbers, texts and uint8 arrays; Python 2's texts come as bytes.

    Raises:
        DataError: the file is broken, or names anything else.
    """
    try:
        with path.open("rb") as file:
            return _built(_Unpickler(file, encoding="bytes").load())
    except DataError as error:
        raise DataError(f"{path} is refused: {error}") from error
    except Exception as error:  # a garbled pickle raises whatever its opcodes happen to stumble over
        raise DataError(f"{path} cannot be read as a pickle: {(str(error).splitlines() or [''])[0][:160]}") from error


def _built(content: Any) -> Any:
    """The content with arrays in place of their records, in the values of a dict."""
    if isinstance(content, dict):
        return {key: value.built() if isinstance(value, _Array) else value for key, value in content.items()}
    return content
