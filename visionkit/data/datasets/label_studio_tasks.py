"""Tasks of Label Studio's exports JSON and JSON-MIN."""

from collections.abc import Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.json_entries import NUMBER, JsonEntries
from visionkit.data.io.json_files import read_json
from visionkit.errors import DataError
from visionkit.text import shorten

KEY, OLD_KEY = "annotations", "completions"
"""Keys of a task's annotations: the present one, and that of versions before 1.0."""

LABELS = "labels"
"""End of the key of a shape's labels, which is its type (`rectanglelabels`)."""

SIZE_KEYS = ("original_height", "original_width")


class Result(NamedTuple):
    """A shape or another result: its type, its value, and (height, width) of the image as stated; None if it is not."""

    kind: str
    value: Mapping[str, Any]
    size: tuple[int, int] | None


class Task(NamedTuple):
    """An image: where it stands, its URL or path, and its results."""

    place: str
    image: str
    results: list[Result]


def read_tasks(source: Path, image_key: str, report: dict[str, int]) -> list[Task]:
    """Return the tasks of an export that have an annotation.

    Of several annotations of a task, the newest that is not cancelled is read. Tasks and annotations that are left out
    are counted. Versions before 1.0 call annotations `completions`, and cancelled ones `skipped`.

    Args:
        source: the JSON file.
        image_key: key of the image in the data of a task.
        report: counts by reason, which are added to.

    Raises:
        DataError: the file is not such an export; the message names the task.
    """
    entries = JsonEntries(read_json(source), "the export", "task", source)
    if not len(entries):
        raise DataError(f"{source} has no tasks")
    is_old = np.array([OLD_KEY in entry and KEY not in entry for entry in entries.entries], bool)
    is_full = np.array([KEY in entry or "data" in entry for entry in entries.entries], bool) & ~is_old
    tasks = [
        *_full(entries.select(is_full), KEY, image_key, report),
        *_full(entries.select(is_old), OLD_KEY, image_key, report),
        *_minimal(entries.select(~is_full & ~is_old), image_key, report),
    ]
    if not tasks:
        raise DataError(f"{source}: no task has an annotation")
    return tasks


def _full(tasks: JsonEntries, key: str, image_key: str, report: dict[str, int]) -> Iterator[Task]:
    """Yield the tasks of the export JSON, whose annotations have a key."""
    data = tasks.column("data", {dict}, "an object")
    given = tasks.column(key, {list}, "a list")
    for index, annotations in enumerate(given):
        place = tasks.describe(index)
        name = place.removeprefix(f"{tasks.source}: ")
        entries = JsonEntries(annotations, f"{key} of {name}", "annotation", tasks.source)
        valid = entries.select(~(entries.flags("was_cancelled") | entries.flags("skipped")))
        _count(report, "cancelled annotations left out", len(entries) - len(valid))
        _count(report, "older annotations of the same task left out", max(len(valid) - 1, 0))
        _count(report, "tasks without annotation left out", int(not len(valid)))
        if len(valid):
            newest = valid.entries[_newest(valid)]
            results = JsonEntries(newest.get("result"), f"result of {name}", "result", tasks.source)
            yield Task(place, _image(data[index], image_key, place), _results(results))


def _results(entries: JsonEntries) -> list[Result]:
    """Return results; one without a value, such as a relation of two others, gets an empty value."""
    kinds, values = entries.texts("type"), entries.column("value", {dict}, "an object", optional=True)
    return [Result(kind, value or {}, size) for kind, value, size in zip(kinds, values, _sizes(entries), strict=True)]


def _minimal(tasks: JsonEntries, image_key: str, report: dict[str, int]) -> Iterator[Task]:
    """Yield the tasks of the export JSON-MIN, which has an entry per annotation, and one of a task without any."""
    has_annotation = np.array([entry.get("annotation_id", "") is not None for entry in tasks.entries], bool)
    _count(report, "tasks without annotation left out", int((~has_annotation).sum()))
    tasks = tasks.select(has_annotation)
    groups: dict[Any, list[int]] = {}
    for index, task in enumerate(tasks.ids("id", optional=True)):
        groups.setdefault(("position", index) if task is None else task, []).append(index)
    for group in groups.values():
        index = group[_newest(tasks.select(np.array(group, np.int64)))]
        _count(report, "older annotations of the same task left out", len(group) - 1)
        place, entry = tasks.describe(index), tasks.entries[index]
        values = [value for value in chain.from_iterable(filter(_is_list, entry.values())) if _label_key(value)]
        shapes = JsonEntries(values, f"shapes of {place.removeprefix(f'{tasks.source}: ')}", "shape", tasks.source)
        yield Task(
            place, _image(entry, image_key, place), list(map(Result, map(_label_key, values), values, _sizes(shapes)))
        )


def _is_list(value: object) -> bool:
    return isinstance(value, list)


def _label_key(value: object) -> str:
    """Return the key of a shape's labels, which is its type; "" for other values."""
    keys = value if isinstance(value, dict) else ()
    return next((key for key in keys if key.endswith(LABELS)), "")


def _newest(annotations: JsonEntries) -> int:
    """Return the index of the annotation that was updated last; the last one of those without a date."""
    updated = annotations.column("updated_at", {str}, "a date", optional=True)
    created = annotations.column("created_at", {str, *NUMBER}, "a date", optional=True)  # seconds before version 1.0
    dates = [first or second or 0 for first, second in zip(updated, created, strict=True)]
    return max((isinstance(date, str), date, index) for index, date in enumerate(dates))[2]


def _sizes(results: JsonEntries) -> list[tuple[int, int] | None]:
    """Return (height, width) of the image that each result states."""
    has_size = np.array([all(entry.get(key) is not None for key in SIZE_KEYS) for entry in results.entries], bool)
    with_size = results.select(has_size)
    height, width = (with_size.integers(key, 1, 2**31) for key in SIZE_KEYS)
    _check_not_rotated(with_size)
    stated = iter(zip(height.tolist(), width.tolist(), strict=True))
    return [next(stated) if flag else None for flag in has_size.tolist()]


def _check_not_rotated(results: JsonEntries) -> None:
    rotations = results.column("image_rotation", {int, float}, "a number", optional=True)
    wrong: NDArray[np.bool_] = np.array([bool(rotation) for rotation in rotations], bool)
    results.fail_first(
        wrong,
        lambda index: f"has the image_rotation {shorten(rotations[index])}; results on rotated images are not read",
    )


def _image(data: Mapping[str, Any], image_key: str, place: str) -> str:
    image = data.get(image_key)
    if not isinstance(image, str) or not image.strip():
        keys = ", ".join(key for key, value in data.items() if isinstance(value, str))
        raise DataError(
            f"{place}: {image_key} is {shorten(image)}, not the URL or path of an image\n"
            f"set image_key in the split to one of: {keys}"[:400]
        )
    return image


def _count(report: dict[str, int], reason: str, number: int) -> None:
    if number:
        report[reason] = report.get(reason, 0) + number
