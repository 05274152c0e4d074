"""Rows of CSV files with their line numbers."""

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from visionkit.data.io.paths import read_text
from visionkit.errors import ConfigError, DataError


class CsvRow(NamedTuple):
    """A row: its line number in the file, and its cells without blanks around them."""

    line: int
    cells: list[str]


def read_csv_columns(
    source: Path,
    columns: Sequence[str],
    optional: Sequence[str] = (),
    delimiter: str | None = None,
    mark: str = "",
    advice: str | None = None,
) -> list[CsvRow]:
    r"""Return some columns of a CSV file (UTF-8, with a header line). Blank lines are left out.

    Args:
        source: the file.
        columns: names of the columns. Each row has their cells in this order, and then those of `optional`.
        optional: names of further columns, whose cells are empty if the file does not have them.
        delimiter: separates the columns; None if it is a comma, and the format has no option for it.
        mark: character that may stand before the first name ("#").
        advice: what to do about a missing column; None asks for a first line with the names.

    Raises:
        DataError: the file is missing or not a CSV file, lacks a column, has one twice, or has a row of another length;
            the message has the line.
        ConfigError: `delimiter` cannot separate columns.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from visionkit.data.io.csv_rows import read_csv_columns
        >>> path = Path(tempfile.mkdtemp()) / "a.csv"
        >>> _ = path.write_text("path,id,label\na.png,7,cat\n")
        >>> read_csv_columns(path, ["label", "path"])
        [CsvRow(line=2, cells=['cat', 'a.png'])]
    """
    rows = _rows(source, delimiter or ",")
    header = next(rows, CsvRow(1, [""])).cells
    header[0] = header[0].removeprefix(mark)
    _check_header(header, columns, source, delimiter, advice)
    absent = len(header)  # index of an empty cell that is added to each row
    positions = [header.index(name) if name in header else absent for name in [*columns, *optional]]
    selected = []
    for line, cells in rows:
        if len(cells) != len(header):
            raise DataError(f"{source}, line {line}: the number of columns is not {len(header)}, as in the header")
        cells.append("")
        selected.append(CsvRow(line, [cells[position].strip() for position in positions]))
    return selected


def read_csv_header(source: Path) -> list[str]:
    """Return the names of the columns of a CSV file that are separated by commas.

    Raises:
        DataError: the file is missing or not a CSV file.
    """
    return next(_rows(source, ","), CsvRow(1, [])).cells


def read_csv_pairs(source: Path) -> list[CsvRow]:
    """Return the rows of a CSV file that has two columns and no header line.

    Raises:
        DataError: the file is missing or not a CSV file, or a row has another number of cells.
    """
    rows = []
    for line, cells in _rows(source, ","):
        if len(cells) != 2:
            raise DataError(f"{source}, line {line} has {len(cells)} columns; it must have 2")
        rows.append(CsvRow(line, [cell.strip() for cell in cells]))
    return rows


def _rows(source: Path, delimiter: str) -> Iterator[CsvRow]:
    """Yield the rows that are not blank."""
    text = io.StringIO(read_text(source), newline="")
    reader = _reader(text, delimiter)
    try:
        for cells in reader:
            if cells:
                yield CsvRow(reader.line_num, cells)
    except csv.Error as error:
        raise DataError(f"{source}, line {reader.line_num} cannot be read as a CSV file: {error}") from error


def _reader(text: io.StringIO, delimiter: str) -> Any:
    try:
        return csv.reader(text, delimiter=delimiter, strict=True)
    except (TypeError, ValueError) as error:
        raise ConfigError(f"csv: delimiter {delimiter!r} cannot separate columns: {error}") from error


def _check_header(
    header: list[str], columns: Sequence[str], source: Path, delimiter: str | None, advice: str | None
) -> None:
    repeated = [name for name in columns if header.count(name) > 1]
    if repeated:
        raise DataError(f"{source} has several columns {' and '.join(repeated)}")
    missing = [name for name in columns if name not in header]
    if missing:
        default = f"the first line must name the columns {' and '.join(columns)}"
        raise DataError(
            f"{source} has no column {' and '.join(missing)}; its columns are {', '.join(header)[:120]!r}\n"
            f"{_delimiter_advice(header, delimiter) or advice or default}"
        )


def _delimiter_advice(header: list[str], delimiter: str | None) -> str | None:
    other = next((character for character in ";\t|" if character in "".join(header)), None)
    if other and delimiter:
        return f"set delimiter: {other!r} in the card"
    return f"the columns must be separated by commas, not by {other!r}" if other else None
