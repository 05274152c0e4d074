"""Checks of COCO's compressed run-length codes, without decoding them to masks."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

OFFSET = 48
"""A character is its 6-bit value plus 48: five bits of a number, lowest bits first, and one bit if more follow."""

MAX_CHARACTERS = 7
"""Characters of the longest number; 7 hold 35 bits, and the counts have 32."""

CHUNK_BYTES = 1 << 22


def find_invalid_codes(codes: Sequence[bytes], num_pixels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which codes do not describe a mask of their image's size.

    pycocotools reads beyond the end of some of them, and refuses others without telling which.

    Args:
        codes: the `counts` of N compressed run-length codes.
        num_pixels: int64 [N], number of pixels of each code's image.

    Returns:
        bool [N].

    Example:
        >>> import numpy as np
        >>> from visionkit.data.datasets.run_length_check import find_invalid_codes
        >>> find_invalid_codes([b"235", b"23"], np.array([10, 10]))
        array([False,  True])
    """
    invalid = np.ones(len(codes), bool)
    for rows in _chunks(codes):
        invalid[rows] = _find_invalid([codes[row] for row in rows], num_pixels[rows])
    return invalid


def _chunks(codes: Sequence[bytes]) -> Iterator[list[int]]:
    """Yield the indices of codes that are not empty, in groups of limited total length."""
    rows: list[int] = []
    size = 0
    for row, code in enumerate(codes):
        if code:
            rows.append(row)
            size += len(code)
        if rows and size > CHUNK_BYTES:
            yield rows
            rows, size = [], 0
    if rows:
        yield rows


def _find_invalid(codes: list[bytes], num_pixels: NDArray[np.int64]) -> NDArray[np.bool_]:
    values = np.frombuffer(b"".join(codes), np.uint8).astype(np.int64) - OFFSET
    ends = np.cumsum([len(code) for code in codes])
    is_last = (values & 0x20) == 0
    invalid = np.logical_or.reduceat((values < 0) | (values > 63), np.r_[0, ends[:-1]])
    invalid |= ~is_last[ends - 1]
    is_last[ends - 1] = True  # so that an incomplete number does not continue in the next code
    number_ends = np.flatnonzero(is_last) + 1
    number_starts = np.r_[0, number_ends[:-1]]
    code_of_number = np.asarray(np.searchsorted(ends, number_starts, side="right"))
    too_long = number_ends - number_starts > MAX_CHARACTERS
    invalid[code_of_number[too_long]] = True
    counts = _counts(_numbers(values, number_starts, number_ends), code_of_number)
    invalid[code_of_number[counts < 0]] = True
    totals = np.add.reduceat(counts, np.searchsorted(code_of_number, np.arange(len(codes))))
    return np.asarray(invalid | (totals != num_pixels))


def _numbers(values: NDArray[np.int64], starts: NDArray[np.int64], ends: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the signed number of each group of characters."""
    position = np.arange(len(values)) - np.repeat(starts, ends - starts)
    shifts = 5 * np.minimum(position, MAX_CHARACTERS)
    numbers = np.add.reduceat((values & 0x1F) << shifts, starts)
    sign_bits = 5 * np.minimum(ends - starts, MAX_CHARACTERS)
    return numbers - np.where(values[ends - 1] & 0x10, np.int64(1) << sign_bits, 0)


def _counts(numbers: NDArray[np.int64], codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the run lengths: from the fourth on, a number is the difference to the run length before the previous."""
    first = np.searchsorted(codes, codes)
    position = np.arange(len(numbers)) - first
    counts = numbers.copy()
    for parity in (0, 1):
        chained = np.where((position % 2 == parity) & (position > 0), numbers, 0)
        sums = np.cumsum(chained)
        before = sums[first] - chained[first]
        counts = np.where((position % 2 == parity) & (position > 0), sums - before, counts)
    return counts
