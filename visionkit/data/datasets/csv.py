"""The `csv` format: a table of image files with one or several classes each."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.base_classification import ClassificationFileDataset
from visionkit.data.datasets.class_checks import check_at_least_two_classes
from visionkit.data.io.bad_files import BadFilePolicy
from visionkit.data.io.csv_rows import CsvRow, read_csv_columns
from visionkit.data.io.paths import find_missing, find_outside, require_file, require_folder
from visionkit.errors import ConfigError, DataError
from visionkit.registry import suggest

COLUMNS = ("path", "label")


class Row(NamedTuple):
    """A row of the table: its line number, the path of the image, and the names of its classes."""

    line: int
    path: str
    labels: list[str]


@formats.register("csv")
class CsvDataset(ClassificationFileDataset):
    r"""Images listed in a CSV file with the columns `path` and `label`. Other columns are ignored.

    Args:
        root: folder of the dataset.
        annotations: the CSV file (UTF-8, with a header line), relative to `root`.
        images: folder of the image files, relative to `root`.
        classes: class names in label order; any other label is an error. None takes all labels of the file, in
            alphabetical order.
        separator: separates the labels of an image that has several ("|"). Samples then have `tags` and no `label`,
            and an empty label means no class. None: every image has exactly one label.
        delimiter: separates the columns. Spreadsheets of some countries write `;`.
        on_bad_file: raise an error for unreadable files, or skip them. skip reads every file once at the start.

    Raises:
        DataError: a line is malformed, repeats an image, or has an unknown label; an image is missing or outside
            the folder; or there are fewer than two classes.
        ConfigError: `separator` or `delimiter` is not valid.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from visionkit.data.datasets.csv import CsvDataset
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("a.png", "b.png"):
        ...     Image.new("RGB", (8, 8)).save(folder / name)
        >>> _ = (folder / "train.csv").write_text("path,label\na.png,cat\nb.png,dog\n")
        >>> CsvDataset(folder, "train.csv").labels
        array([0, 1])
    """

    def __init__(
        self,
        root: Path | None,
        annotations: str,
        images: str = "",
        classes: list[str] | None = None,
        separator: str | None = None,
        delimiter: str = ",",
        on_bad_file: BadFilePolicy = "raise",
    ) -> None:
        top = require_folder(root, "the csv format")
        source = require_file(top / annotations)
        rows = _read_rows(source, separator, delimiter)
        _check_unique_paths(rows, source)
        _check_paths(rows, top / images, source)
        self.set_class_names(classes or sorted({label for row in rows for label in row.labels}))
        if separator is None:
            check_at_least_two_classes(self.class_names, source)
        row_classes = _classes_of_rows(rows, self.class_names, source)
        labels = np.array([classes[0] if separator is None else -1 for classes in row_classes], np.int64)
        tags = None if separator is None else row_classes
        super().__init__(top / images, [row.path for row in rows], labels, on_bad_file, {}, tags)


def _read_rows(source: Path, separator: str | None, delimiter: str) -> list[Row]:
    if len(delimiter) != 1 or separator == "":
        raise ConfigError(f"csv: delimiter {delimiter!r} must be one character, separator {separator!r} at least one")
    rows = [_row(row, separator, source) for row in read_csv_columns(source, COLUMNS, delimiter=delimiter)]
    if not rows:
        raise DataError(f"{source} has no rows below its header")
    return rows


def _row(row: CsvRow, separator: str | None, source: Path) -> Row:
    path, text = row.cells
    labels = [text] if separator is None else [label.strip() for label in text.split(separator)] if text else []
    if not path or "" in labels:
        raise DataError(f"{source}, line {row.line}: the {'label' if path else 'path'} is empty")
    return Row(row.line, path, labels)


def _check_unique_paths(rows: list[Row], source: Path) -> None:
    first: dict[str, int] = {}
    for row in rows:
        earlier = first.setdefault(os.path.normpath(row.path), row.line)
        if earlier != row.line:
            raise DataError(f"{source}, line {row.line}: {row.path} is already in line {earlier}")


def _check_paths(rows: list[Row], folder: Path, source: Path) -> None:
    for index in find_outside(folder, [row.path for row in rows])[:1]:
        raise DataError(f"{source}, line {rows[index].line}: the path {rows[index].path!r} is outside {folder}")
    missing = find_missing([folder / row.path for row in rows])
    if missing:
        more = f"; {len(missing)} images are missing in total" if len(missing) > 1 else ""
        row = rows[missing[0]]
        raise DataError(f"{source}, line {row.line}: the image {folder / row.path} does not exist{more}")


def _classes_of_rows(rows: list[Row], class_names: list[str], source: Path) -> list[list[int]]:
    """Return the class indices of each row, ascending and without repeats."""
    class_index = {name: index for index, name in enumerate(class_names)}
    for row in rows:
        for label in row.labels:
            if label not in class_index:
                raise DataError(f"{source}, line {row.line}: unknown label {label!r}{suggest(label, class_index)}")
    return [sorted({class_index[label] for label in row.labels}) for row in rows]
