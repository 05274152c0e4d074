"""Lists of JSON objects, read column by column with checks of every value."""

import math
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.repair_boxes import LARGEST_COORDINATE
from visionkit.errors import DataError
from visionkit.text import is_encodable, shorten

NUMBER = {int, float}
"""Types of numbers in JSON; `bool`, a subclass of int, is not among them."""

NONE = type(None)


class JsonEntries:
    """A list of JSON objects, read column by column.

    A check compares the set of all types in a column with the allowed types, which is many times faster than a check
    per entry. Only if it fails, the first wrong entry is searched for the message.

    Args:
        entries: the list.
        part: name of the list in the file, for messages ("annotations").
        kind: what an entry is, for messages ("annotation").
        source: the file, for messages.

    Raises:
        DataError: `entries` is not a list of objects.

    Example:
        >>> from pathlib import Path
        >>> from visionkit.data.datasets.json_entries import JsonEntries
        >>> JsonEntries([{"id": 3}, {"id": "4"}], "images", "image", Path("a.json")).ids("id")
        [3, '4']
    """

    def __init__(self, entries: object, part: str, kind: str, source: Path) -> None:
        if not isinstance(entries, list):
            raise DataError(f"{source}: {part} must be a list, not {shorten(entries)}")
        self.entries, self.part, self.kind, self.source = entries, part, kind, source
        self._positions: Sequence[int] = range(len(entries))
        if set(map(type, entries)) - {dict}:
            index = next(index for index, entry in enumerate(entries) if type(entry) is not dict)
            raise DataError(f"{source}: entry {index} of {part} must be an object, not {shorten(entries[index])}")

    def __len__(self) -> int:
        return len(self.entries)

    def select(self, which: NDArray[np.bool_] | NDArray[np.int64]) -> "JsonEntries":
        """Return some of the entries, given by a boolean mask or by indices."""
        chosen = np.arange(len(self))[which].tolist()
        selected = JsonEntries([self.entries[index] for index in chosen], self.part, self.kind, self.source)
        selected._positions = [self._positions[index] for index in chosen]
        return selected

    def describe(self, index: int) -> str:
        """Return the file and the id of an entry for messages; that of its image, or its position, if it has no id."""
        entry = self.entries[index]
        for text, key in ((self.kind, "id"), (f"{self.kind} of image", "image_id")):
            if type(entry.get(key)) in (int, str):
                return f"{self.source}: {text} {shorten(entry[key])}"
        return f"{self.source}: entry {self._positions[index]} of {self.part}"

    def fail(self, index: int, problem: str) -> NoReturn:
        """Raise DataError about an entry."""
        raise DataError(f"{self.describe(index)} {problem}")

    def fail_first(self, wrong: NDArray[np.bool_], problem: Callable[[int], str]) -> None:
        """Raise DataError about the first wrong entry, if there is one; `problem` returns the text for its index."""
        if wrong.any():
            index = int(wrong.argmax())
            self.fail(index, problem(index))

    def column(self, key: str, types: set[type], expected: str, optional: bool = False) -> list[Any]:
        """Return the values of a key, after checking their types.

        Args:
            key: the key.
            types: allowed types.
            expected: description of the allowed values, for messages.
            optional: whether the key may be missing or null, which gives None.
        """
        values = [entry.get(key) for entry in self.entries]
        allowed = types | {NONE} if optional else types
        if set(map(type, values)) - allowed:
            index = next(index for index, value in enumerate(values) if type(value) not in allowed)
            if key not in self.entries[index]:
                self.fail(index, f"has no {key}")
            self.fail(index, f"has the {key} {shorten(values[index])}; it must be {expected}")
        return values

    def ids(self, key: str, optional: bool = False) -> list[Any]:
        """Return ids, which are integers or strings."""
        return self.column(key, {int, str}, "an integer or a string", optional)

    def integers(self, key: str, lowest: int, highest: int) -> NDArray[np.int64]:
        """Return integers within bounds, int64 [N]; 48.0 is taken as an integer."""
        expected = f"an integer from {lowest} to {highest}"
        values = self.column(key, NUMBER, expected)
        wrong = [not (lowest <= value <= highest and value == int(value)) for value in values]  # NaN fails, too
        self.fail_first(np.array(wrong, bool), lambda i: f"has the {key} {shorten(values[i])}; it must be {expected}")
        return np.array(values, np.int64)

    def texts(self, key: str) -> list[str]:
        """Return strings that are not blank and can be written in UTF-8."""
        values: list[str] = self.column(key, {str}, "a string")
        if not (all(map(str.strip, values)) and is_encodable("".join(values))):
            index = next(i for i, value in enumerate(values) if not (value.strip() and is_encodable(value)))
            self.fail(index, f"has the {key} {shorten(values[index])}; it must be text that is not blank")
        return values

    def numbers(self, key: str) -> NDArray[np.float64]:
        """Return finite numbers that are not negative, float64 [N]; NaN where the key is missing or null."""
        expected = "a finite number that is not negative"
        values = self.column(key, NUMBER, expected, optional=True)
        missing = np.array([value is None for value in values], bool)
        numbers = to_float64([0 if value is None else value for value in values])
        wrong = ~(np.isfinite(numbers) & (numbers >= 0))
        self.fail_first(wrong, lambda index: f"has the {key} {shorten(values[index])}; it must be {expected}")
        numbers[missing] = np.nan
        return numbers

    def rows(self, key: str, length: int, expected: str) -> NDArray[np.float64]:
        """Return lists of `length` finite numbers, float64 [N, length]."""
        values = self.column(key, {list}, expected)
        flat = chain.from_iterable(values)
        if set(map(len, values)) - {length} or set(map(type, flat)) - NUMBER:
            wrong = [len(row) != length or bool(set(map(type, row)) - NUMBER) for row in values]
            index = wrong.index(True)
            self.fail(index, f"has the {key} {shorten(values[index])}; it must be {expected}")
        rows = to_float64(list(chain.from_iterable(values))).reshape(-1, length)
        in_range = (np.abs(rows) < LARGEST_COORDINATE).all(axis=1)  # False for NaN
        self.fail_first(
            np.asarray(~in_range), lambda index: f"has the {key} {shorten(values[index])} with NaN or infinite numbers"
        )
        return rows

    def flags(self, key: str) -> NDArray[np.bool_]:
        """Return 0, 1, true or false as bool [N]; False where the key is missing or null."""
        values = self.column(key, {int, bool}, "0 or 1", optional=True)
        if set(values) - {0, 1, None}:
            index = next(index for index, value in enumerate(values) if value not in (0, 1, None))
            self.fail(index, f"has the {key} {shorten(values[index])}; it must be 0 or 1")
        return np.array(list(map(bool, values)), bool)


def to_float64(values: Sequence[Any]) -> NDArray[np.float64]:
    """Return numbers as float64; integers beyond its range become infinite."""
    try:
        return np.array(values, np.float64)
    except OverflowError:
        return np.array([value if abs(value) < 1e300 else math.inf for value in values], np.float64)
