"""Digests of bytes and arrays."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIGEST_BYTES = 16


def digest(*parts: bytes) -> bytes:
    """Return the BLAKE2b digest of several parts; each part's length is included, so that boundaries matter."""
    result = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        result.update(len(part).to_bytes(8, "little"))
        result.update(part)
    return result.digest()


def digest_array(array: NDArray[Any]) -> bytes:
    """Return the digest of an array's data type, shape and values."""
    return digest(str(array.dtype).encode(), str(array.shape).encode(), np.ascontiguousarray(array).tobytes())
