"""A table of image files and their classes, one or several each."""

import csv
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.classification import ClassificationFiles, refuse_single_class
from visionkit.data.io.bad_files import BadFiles
from visionkit.data.io.paths import existing_file, existing_folder, leads_out, missing
from visionkit.errors import ConfigError, DataError
from visionkit.registry import suggest

COLUMNS = ("path", "label")


class Row(NamedTuple):
    """A line of the table: its number, the image's path, and the names of its classes."""

    line: int
    path: str
    labels: list[str]


@formats.register("csv")
class Csv(ClassificationFiles):
    """Images with the classes that a CSV file gives them in its columns `path` and `label`; others are passed over.

    Args:
        root: folder of the data set.
        annotations: the CSV file (UTF-8, with a header line), relative to `root`.
        images: folder that the paths in it are relative to, relative to `root`.
        classes: class names in label order; any other label is an error. None takes those found, in alphabetical order.
        separator: sign between the labels of an image that has several ("|"); samples then have `tags` and no
            `label`, and an empty label means that no class holds. None: exactly one label each.
        delimiter: sign between the columns; `;` is what spreadsheets of some countries write.
        on_bad_file: as for the folder format: raise when the image is asked for, or skip and count it.

    Raises:
        DataError: a line is malformed, repeats an image, names a label that is not listed or a file that is not
            there or not below `root`; or there are fewer than two classes to tell apart.
        ConfigError: `separator` or `delimiter` cannot be used.
    """

    def __init__(
        self,
        root: Path | None,
        annotations: str,
        images: str = "",
        classes: list[str] | None = None,
        separator: str | None = None,
        delimiter: str = ",",
        on_bad_file: BadFiles = "raise",
    ) -> None:
        top = existing_folder(root, "the csv format")
        source = existing_file(top / annotations)
        rows = _read_rows(source, separator, delimiter)
        _refuse_doubles(rows, source)
        _refuse_wrong_paths(rows, top / images, source)
        self.name_classes(classes or sorted({label for row in rows for label in row.labels}))
        if separator is None:
            refuse_single_class(self.class_names, source)
        numbers = _numbers(rows, self.class_names, source)
        labels = np.array([held[0] if separator is None else -1 for held in numbers], np.int64)
        super().__init__(top / images, [row.path for row in rows], labels, on_bad_file, {})
        kept = [held for held, keep in zip(numbers, self.kept, strict=True) if keep]
        self._tags = None if separator is None else np.array([tag for held in kept for tag in held], np.int64)
        self._tag_ends = np.cumsum([0, *map(len, kept)])

    def tags(self, index: int) -> NDArray[np.int64] | None:
        """See `VisionDataset`."""
        if self._tags is None:
            return super().tags(index)
        return self._tags[self._tag_ends[index] : self._tag_ends[index + 1]].copy()


def _read_rows(source: Path, separator: str | None, delimiter: str) -> list[Row]:
    if len(delimiter) != 1 or separator == "":
        raise ConfigError(f"csv: delimiter {delimiter!r} must be one sign, and separator {separator!r} at least one")
    try:
        with source.open(newline="", encoding="utf-8-sig") as file:  # spreadsheets put a byte order mark first
            reader = csv.DictReader(file, delimiter=delimiter, strict=True)
            _refuse_wrong_header(reader.fieldnames or [], source)
            rows = list(_rows(reader, separator, source))
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{source} cannot be read as a UTF-8 CSV file: {error}") from error
    if not rows:
        raise DataError(f"{source} has no line below its header")
    return rows


def _refuse_wrong_header(header: Sequence[str], source: Path) -> None:
    absent = [name for name in COLUMNS if name not in header]
    if absent:
        other = next((sign for sign in ";\t|" if sign in "".join(header)), None)
        advice = (
            f"set delimiter: {other!r} in the card" if other else "the first line must name the columns path and label"
        )
        raise DataError(f"{source} has no column {' and '.join(absent)}, but {', '.join(header)[:120]!r}\n{advice}")


def _rows(reader: "csv.DictReader[str]", separator: str | None, source: Path) -> Iterator[Row]:
    for cells in reader:
        line = reader.line_num
        if None in cells or None in cells.values():
            raise DataError(
                f"{source}, line {line}: the header names {len(reader.fieldnames or [])} columns, not so this line"
            )
        path, text = cells["path"].strip(), cells["label"].strip()
        labels = [text] if separator is None else [label.strip() for label in text.split(separator)] if text else []
        if not path or "" in labels:
            raise DataError(f"{source}, line {line}: the {'label' if path else 'path'} is empty")
        yield Row(line, path, labels)


def _refuse_doubles(rows: list[Row], source: Path) -> None:
    first: dict[str, int] = {}
    for row in rows:
        earlier = first.setdefault(os.path.normpath(row.path), row.line)
        if earlier != row.line:
            raise DataError(f"{source}, line {row.line}: {row.path} stands in line {earlier} already")


def _refuse_wrong_paths(rows: list[Row], folder: Path, source: Path) -> None:
    for index in leads_out(folder, [row.path for row in rows])[:1]:
        raise DataError(f"{source}, line {rows[index].line}: the path {rows[index].path!r} leads out of {folder}")
    absent = missing([folder / row.path for row in rows])
    if absent:
        more = f"; {len(absent)} images are missing in all" if len(absent) > 1 else ""
        row = rows[absent[0]]
        raise DataError(f"{source}, line {row.line}: there is no image {folder / row.path}{more}")


def _numbers(rows: list[Row], class_names: list[str], source: Path) -> list[list[int]]:
    """Numbers of each row's classes, rising and without repeats."""
    number = {name: index for index, name in enumerate(class_names)}
    for row in rows:
        for label in row.labels:
            if label not in number:
                raise DataError(f"{source}, line {row.line}: unknown label {label!r}{suggest(label, number)}")
    return [sorted({number[label] for label in row.labels}) for row in rows]
