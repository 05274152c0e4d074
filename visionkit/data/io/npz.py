"""Reading NumPy archives (.npz) whose headers are checked before memory is allocated for their arrays."""

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visionkit.data.io.paths import require_regular_file
from visionkit.errors import DataError, VisionkitError

MAX_UNPACKED_BYTES = 2**30
MAX_RATIO = 64
"""An archive may unpack to `MAX_UNPACKED_BYTES`, or to `MAX_RATIO` times its own size if that is more."""

SUFFIX = ".npy"
READ_HEADER = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npz(path: Path, kind: str, keys: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
    """Return the arrays of an .npz file by name.

    Args:
        path: the file.
        kind: what it is, for messages ("proposals").
        keys: names of the arrays to read; None reads all.

    Raises:
        DataError: the file does not exist, is not an .npz file, is damaged or encrypted, has no array of `keys`, holds
            Python objects, or states sizes that do not fit its content.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from visionkit.data.io.npz import read_npz
        >>> path = Path(tempfile.mkdtemp()) / "a.npz"
        >>> np.savez(path, labels=np.arange(3))
        >>> read_npz(path, "labels")["labels"]
        array([0, 1, 2])
    """
    require_regular_file(path, kind)
    if not zipfile.is_zipfile(path):
        raise DataError(f"the {kind} {path} cannot be read: not an .npz file, which np.savez writes")
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename.removesuffix(SUFFIX): info for info in archive.infolist()}
            wanted = list(members) if keys is None else list(keys)
            missing = [key for key in wanted if key not in members]
            if missing:
                raise DataError(f"the {kind} {path} has no arrays {', '.join(missing)}")
            _check_unpacked_size([members[key] for key in wanted], path, kind)
            return {key: _read_array(archive, members[key]) for key in wanted}
    except VisionkitError:
        raise
    except Exception as error:  # a damaged archive can raise anything, depending on its content
        text = (str(error).splitlines() or [""])[0][:160] or type(error).__name__
        raise DataError(f"the {kind} {path} cannot be read: {text}") from error


def _check_unpacked_size(members: Sequence[zipfile.ZipInfo], path: Path, kind: str) -> None:
    unpacked = sum(member.file_size for member in members)
    if unpacked > max(MAX_UNPACKED_BYTES, MAX_RATIO * path.stat().st_size):
        raise DataError(
            f"the {kind} {path} would unpack to {unpacked} bytes, more than {MAX_RATIO} times its own size\n"
            "save it with np.savez, which does not compress"
        )


def _read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    """Return the array of a member after comparing the size in its header with that of the member."""
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        if version not in READ_HEADER:
            raise ValueError(f"{member.filename} has the unknown .npy version {version}")
        shape, _, dtype = READ_HEADER[version](file)
        if dtype.hasobject:
            raise ValueError(f"{member.filename} holds Python objects, which could run code")
        if math.prod(shape) * dtype.itemsize != member.file_size - file.tell():
            raise ValueError(f"{member.filename} has the shape {shape} of {dtype}, but another number of bytes")
    with archive.open(member) as file:
        array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    return array
