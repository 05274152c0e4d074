"""The `csv` format: a table of image files with one or several classes each."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.base_classification import ClassificationFileDataset
from visionkit.data.datasets.class_checks import check_at_least_two_classes
from visionkit.data.io.bad_files import BadFilePolicy
from visionkit.data.io.csv_rows import CsvRow, read_csv_columns
from visionkit.data.io.paths import find_missing, find_outside, require_file, require_folder
from visionkit.errors import ConfigError, DataError
from visionkit.registry import suggest
from visionkit.text import format_list, printable

COLUMN_ADVICE = "the first line must name the columns; path_column, label_column and rows must use its names"
"""What to do about a missing column."""

OtherLabelPolicy = Literal["raise", "skip"]
"""What happens to a label that is not in `classes`."""


class Row(NamedTuple):
    """A row of the table: its line number, the path of the image, and the names of its classes."""

    line: int
    path: str
    labels: list[str]


@formats.register("csv")
class CsvDataset(ClassificationFileDataset):
    r"""Images listed in a CSV file with a column of paths and a column of labels. Other columns are ignored.

    Args:
        root: folder of the dataset.
        annotations: the CSV file (UTF-8, with a header line), relative to `root`.
        images: folder of the image files, relative to `root`.
        classes: class names in label order. None takes all labels of the rows, in alphabetical order.
        separator: separates the labels of an image that has several ("|"). Samples then have `tags` and no `label`,
            and an empty label means no class. None: every image has exactly one label.
        delimiter: separates the columns. Spreadsheets of some countries write `;`.
        path_column, label_column: names of the two columns.
        rows: cell by column ({split: train, fold: "3"}, numbers in quotes): only the rows that have all these cells are
            read. None reads all rows.
        other_labels: raise an error for a label that is not in `classes`, or skip and count it; skip needs `separator`
            and `classes`. An image without any other label then has no class.
        on_bad_file: raise an error for unreadable files, or skip them. skip reads every file once at the start.

    Raises:
        DataError: a column is missing; a line is malformed, repeats an image, or has an unknown label; an image is
            missing or outside the folder; no row or no label is left; or there are fewer than two classes.
        ConfigError: `separator` or `delimiter` is not valid, or `other_labels` lacks what it needs.

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
        path_column: str = "path",
        label_column: str = "label",
        rows: dict[str, str] | None = None,
        other_labels: OtherLabelPolicy = "raise",
        on_bad_file: BadFilePolicy = "raise",
    ) -> None:
        _check_options(separator, delimiter, classes, other_labels)
        top = require_folder(root, "the csv format")
        source = require_file(top / annotations)
        cells = _read_cells(source, path_column, label_column, rows or {}, delimiter)
        listed = [_row(row, separator, source) for row in cells]
        _check_unique_paths(listed, source)
        _check_paths(listed, top / images, source)
        self.set_class_names(classes or sorted({label for row in listed for label in row.labels}))
        if separator is None:
            check_at_least_two_classes(self.class_names, source)
        report: dict[str, int] = {}
        if other_labels == "skip":
            listed = _skip_other_labels(listed, self.class_names, source, report)
        row_classes = _classes_of_rows(listed, self.class_names, source)
        labels = np.array([classes[0] if separator is None else -1 for classes in row_classes], np.int64)
        tags = None if separator is None else row_classes
        super().__init__(top / images, [row.path for row in listed], labels, on_bad_file, report, tags)


def _check_options(
    separator: str | None, delimiter: str, classes: list[str] | None, other_labels: OtherLabelPolicy
) -> None:
    if len(delimiter) != 1 or separator == "":
        raise ConfigError(f"csv: delimiter {delimiter!r} must be one character, separator {separator!r} at least one")
    missing = [name for name, value in (("separator", separator), ("classes", classes)) if not value]
    if other_labels == "skip" and missing:
        raise ConfigError(f"csv: other_labels 'skip' also needs {' and '.join(missing)}")


def _read_cells(
    source: Path, path_column: str, label_column: str, conditions: Mapping[str, str], delimiter: str
) -> list[CsvRow]:
    """Return the path and the label of the rows that have the cell of each condition."""
    columns = [path_column, label_column, *conditions]
    rows = read_csv_columns(source, columns, delimiter=delimiter, advice=COLUMN_ADVICE)
    if not rows:
        raise DataError(f"{source} has no rows below its header")
    wanted = list(conditions.values())
    chosen = [CsvRow(row.line, row.cells[:2]) for row in rows if row.cells[2:] == wanted]
    if not chosen:
        asked = ", ".join(f"{column}: {value}" for column, value in conditions.items())
        there = [f"{column} has {_values(row.cells[i] for row in rows)}" for i, column in enumerate(columns[2:], 2)]
        raise DataError("\n".join([f"{source} has no row with {asked}", *there[:4]]))
    return chosen


def _values(cells: Iterable[str]) -> str:
    """Return the different cells for a message."""
    return format_list([printable(cell) for cell in sorted(set(cells))])[:200]


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


def _skip_other_labels(
    rows: Sequence[Row], class_names: Sequence[str], source: Path, report: dict[str, int]
) -> list[Row]:
    """Return the rows without the labels that are not classes, after counting these."""
    known = set(class_names)
    skipped = [label for row in rows for label in row.labels if label not in known]
    kept = [row._replace(labels=[label for label in row.labels if label in known]) for row in rows]
    if skipped:
        report["labels of other classes skipped"] = len(skipped)
        if not any(row.labels for row in kept):
            names = format_list([printable(name) for name in class_names])
            raise DataError(f"{source} has no label of the classes {names}\nits labels are {_values(skipped)}")
    return kept


def _classes_of_rows(rows: list[Row], class_names: list[str], source: Path) -> list[list[int]]:
    """Return the class indices of each row, ascending and without repeats."""
    class_index = {name: index for index, name in enumerate(class_names)}
    for row in rows:
        for label in row.labels:
            if label not in class_index:
                raise DataError(f"{source}, line {row.line}: unknown label {label!r}{suggest(label, class_index)}")
    return [sorted({class_index[label] for label in row.labels}) for row in rows]
