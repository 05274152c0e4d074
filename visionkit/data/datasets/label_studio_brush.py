"""Run-length codes of Label Studio's brush, a bit stream in the format of thi.ng/rle-pack."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from visionkit.errors import DataError

CHANNELS = 4
"""Channels of the coded RGBA image; the last one is the mask."""

WORD_BITS = 8
COUNT_BITS, WORD_SIZE_BITS, RUN_SIZE_BITS = 32, 5, 4
"""Bits of the header: number of values, bits of a value less 1, and four times the bits of a run's length less 1."""


def decode_brush(codes: Sequence[int], size: tuple[int, int], place: str) -> NDArray[np.bool_]:
    """Return the mask of a brush.

    Args:
        codes: the bytes of the bit stream, 0 to 255.
        size: (height, width) of the image.
        place: where the code stands, for messages.

    Returns:
        bool [height, width].

    Raises:
        DataError: the code is not complete, or not of an RGBA image of this size.
    """
    if set(map(type, codes)) - {int} or min(codes, default=0) < 0 or max(codes, default=0) > 255:
        raise DataError(f"{place}: the run-length code of the brush must be a list of bytes, 0 to 255")
    try:
        values = _decode(_Bits(bytes(codes)), CHANNELS * size[0] * size[1])
    except ValueError as error:
        raise DataError(
            f"{place}: the run-length code of the brush does not fit its image of {size[0]} x {size[1]} pixels: {error}"
        ) from error
    return values.reshape(*size, CHANNELS)[..., -1] > 0


class _Bits:
    """A stream of bits, the highest bit of each byte first."""

    def __init__(self, data: bytes) -> None:
        self._text = bin(int.from_bytes(b"\1" + data, "big"))[3:]
        self._position = 0

    def read(self, count: int) -> int:
        """Return the number in the next bits; ValueError if there are not enough."""
        start, self._position = self._position, self._position + count
        if self._position > len(self._text):
            raise ValueError("it ends too early")
        return int(self._text[start : self._position], 2)


def _decode(bits: _Bits, expected: int) -> NDArray[np.uint8]:
    count, word = bits.read(COUNT_BITS), bits.read(WORD_SIZE_BITS) + 1
    if count != expected or word != WORD_BITS:
        raise ValueError(f"it has {count} values of {word} bits")
    run_bits = [bits.read(RUN_SIZE_BITS) + 1 for _ in range(4)]
    values = np.zeros(count, np.uint8)
    start = 0
    while start < count:
        is_run = bits.read(1)
        length = bits.read(run_bits[bits.read(2)]) + 1
        if start + length > count:
            raise ValueError("it is too long")
        if is_run:
            values[start : start + length] = bits.read(word)
        else:
            literal = bits.read(word * length).to_bytes(length, "big")
            values[start : start + length] = np.frombuffer(literal, np.uint8)
        start += length
    return values
