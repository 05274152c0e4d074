"""The masks of all objects of a COCO file: checked once, and kept in flat arrays."""

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle

from visionkit.data.datasets.json_entries import NUMBER, JsonEntries, to_float64
from visionkit.data.datasets.run_length_check import find_invalid_codes
from visionkit.structures import Rle
from visionkit.text import shorten

MIN_COORDINATES = 6
"""Numbers of the smallest polygon, a triangle. pycocotools takes a list of four numbers for a box."""

MAX_PERIMETER = 2**22
"""Longest polygon in pixels. pycocotools takes about 100 bytes per pixel of its length."""


class CocoMasks:
    """The masks of N objects in flat arrays, which loader processes share (see `PackedSequence`).

    All of them are checked here, so that none fails when it is read in the middle of training.

    Args:
        entries: annotations with the key `segmentation`: polygons, or a run-length code with a list or a string.
        sizes: int64 [N, 2], (height, width) of each object's image.
        report: counts of repairs by reason, which are added to.

    Raises:
        DataError: a segmentation is missing or malformed, or does not fit its image; the message names the annotation.

    Example:
        >>> from pathlib import Path
        >>> import numpy as np
        >>> from visionkit.data.datasets.coco_masks import CocoMasks
        >>> from visionkit.data.datasets.json_entries import JsonEntries
        >>> square = {"id": 1, "segmentation": [[1, 1, 4, 1, 4, 3, 1, 3]]}
        >>> entries = JsonEntries([square], "annotations", "annotation", Path("a.json"))
        >>> CocoMasks(entries, np.array([[4, 5]]), {}).code(0, (4, 5))["size"]
        [4, 5]
    """

    def __init__(self, entries: JsonEntries, sizes: NDArray[np.int64], report: dict[str, int]) -> None:
        given = entries.column("segmentation", {list, dict}, "polygons or a run-length code")
        is_code = np.array([type(value) is dict for value in given], bool)
        self._polygons = PolygonTable(entries, np.flatnonzero(~is_code), sizes, report)
        codes = [
            _checked_code(entries, row, value, sizes[row]) if type(value) is dict else b""
            for row, value in enumerate(given)
        ]
        invalid = find_invalid_codes(codes, sizes.prod(axis=1)) & is_code
        entries.fail_first(
            invalid, lambda row: f"has a run-length code that is not of its image's {sizes[row].prod()} pixels"
        )
        self._code_ends = np.cumsum([0, *map(len, codes)])
        self._codes = np.frombuffer(b"".join(codes), np.uint8)

    def code(self, row: int, size: tuple[int, int]) -> Rle:
        """Return the mask of an object as compressed run-length code, at the `size` (height, width) of its image."""
        start, end = self._code_ends[row : row + 2]
        if end > start:
            return {"size": list(size), "counts": self._codes[start:end].tobytes()}
        return rle.merge(rle.frPyObjects(self._polygons.of_object(row), *size))


class PolygonTable:
    """The polygons of N objects in flat arrays.

    Args:
        entries: annotations with the key `segmentation`.
        rows: indices of those that have polygons.
        sizes: int64 [N, 2], (height, width) of each object's image.
        report: counts of repairs by reason, which are added to.

    Raises:
        DataError: a polygon is malformed, or an object has none with an area.
    """

    def __init__(
        self, entries: JsonEntries, rows: NDArray[np.int64], sizes: NDArray[np.int64], report: dict[str, int]
    ) -> None:
        lists = [entries.entries[row]["segmentation"] for row in rows.tolist()]
        polygons: list[Any] = list(chain.from_iterable(lists))
        owners = np.repeat(rows, [len(polygons_of_object) for polygons_of_object in lists])
        _check_numbers(entries, polygons, owners)
        lengths = np.fromiter(map(len, polygons), np.int64, len(polygons))
        has_area = lengths >= MIN_COORDINATES
        if not has_area.all():
            _count(report, "polygons with fewer than three points dropped", ~has_area)
            polygons = [polygon for polygon, keep in zip(polygons, has_area.tolist(), strict=True) if keep]
            owners, lengths = owners[has_area], lengths[has_area]
        counts = np.bincount(owners, minlength=len(entries))
        empty = np.zeros(len(entries), bool)
        empty[rows] = counts[rows] == 0
        entries.fail_first(
            empty, lambda row: f"has no polygon with an area: {shorten(entries.entries[row]['segmentation'])}"
        )
        self._first_polygon = np.r_[0, np.cumsum(counts)]
        self._ends = np.r_[0, np.cumsum(lengths)]
        self._coordinates = to_float64(list(chain.from_iterable(polygons)))
        self._clip(entries, owners, sizes, report)

    def of_object(self, row: int) -> list[list[float]]:
        """Return the polygons of an object, each as [x, y, x, y, ...]."""
        polygons = range(self._first_polygon[row], self._first_polygon[row + 1])
        return [self._coordinates[self._ends[index] : self._ends[index + 1]].tolist() for index in polygons]

    def _clip(
        self, entries: JsonEntries, owners: NDArray[np.int64], sizes: NDArray[np.int64], report: dict[str, int]
    ) -> None:
        """Clip polygons to their image and a margin of its longer side, which leaves all but gross errors as they are.

        The memory that pycocotools needs grows with the length of a polygon's edges, also outside of the image.
        """
        if not len(owners):
            return
        lowest, highest = (self._extremes(reduce) for reduce in (np.minimum, np.maximum))
        finite = np.isfinite(lowest) & np.isfinite(highest)
        _fail_about_polygon(
            entries, owners, np.asarray(~finite.all(axis=1)), "has a polygon with NaN or infinite numbers"
        )
        bounds = sizes[owners][:, ::-1]
        margin = bounds.max(axis=1, keepdims=True)
        outside = ((lowest < -margin) | (highest > bounds + margin)).any(axis=1)
        for index in np.flatnonzero(outside).tolist():
            points = self._coordinates[self._ends[index] : self._ends[index + 1]].reshape(-1, 2)
            np.clip(points, -margin[index], (bounds + margin)[index], out=points)
        _count(report, "polygons clipped to the surroundings of their image", outside)
        longest = (np.diff(self._ends) // 2) * 3 * margin[:, 0]  # upper bound: no edge is longer than three sides
        for index in np.flatnonzero(longest > MAX_PERIMETER).tolist():
            points = self._coordinates[self._ends[index] : self._ends[index + 1]].reshape(-1, 2)
            perimeter = np.abs(np.roll(points, -1, axis=0) - points).max(axis=1).sum()
            if perimeter > MAX_PERIMETER:
                entries.fail(int(owners[index]), f"has a polygon that is longer than {MAX_PERIMETER} pixels")

    def _extremes(self, reduce: np.ufunc) -> NDArray[np.float64]:
        """Return the smallest or largest x and y of each polygon, float64 [polygons, 2]."""
        return np.asarray(reduce.reduceat(self._coordinates.reshape(-1, 2), self._ends[:-1] // 2, axis=0))


def _check_numbers(entries: JsonEntries, polygons: Sequence[Any], owners: NDArray[np.int64]) -> None:
    """Check that polygons are lists of an even number of numbers."""
    problem = "has a polygon that is not a list [x, y, x, y, ...] of numbers"
    if set(map(type, polygons)) - {list}:
        wrong = np.array([type(polygon) is not list for polygon in polygons], bool)
        _fail_about_polygon(entries, owners, wrong, problem)
    if set(map(type, chain.from_iterable(polygons))) - NUMBER:
        wrong = np.array([bool(set(map(type, polygon)) - NUMBER) for polygon in polygons], bool)
        _fail_about_polygon(entries, owners, wrong, problem)
    odd = np.fromiter(map(len, polygons), np.int64, len(polygons)) % 2 == 1
    _fail_about_polygon(entries, owners, odd, "has a polygon with an odd number of coordinates")


def _fail_about_polygon(
    entries: JsonEntries, owners: NDArray[np.int64], wrong: NDArray[np.bool_], problem: str
) -> None:
    if wrong.any():
        entries.fail(int(owners[wrong.argmax()]), problem)


def _checked_code(entries: JsonEntries, row: int, code: dict[str, Any], size: NDArray[np.int64]) -> bytes:
    """Return the compressed counts of a run-length code, of which only the characters are not checked yet."""
    height, width = size.tolist()
    if code.get("size") != [height, width]:
        entries.fail(row, f"has a run-length code of size {shorten(code.get('size'))}; its image has {[height, width]}")
    counts = code.get("counts")
    if isinstance(counts, str) and counts.isascii() and counts:
        return counts.encode()
    if not isinstance(counts, list) or not counts or set(map(type, counts)) - {int} or min(counts) < 0:
        entries.fail(row, f"has a run-length code with the counts {shorten(counts)}; they must be a string or a list")
    if sum(counts) != height * width:
        entries.fail(row, f"has a run-length code of {sum(counts)} pixels; its image has {height * width}")
    compressed: bytes = rle.frPyObjects({"size": [height, width], "counts": counts}, height, width)["counts"]
    return compressed


def _count(report: dict[str, int], reason: str, which: NDArray[np.bool_]) -> None:
    if which.any():
        report[reason] = report.get(reason, 0) + int(which.sum())
