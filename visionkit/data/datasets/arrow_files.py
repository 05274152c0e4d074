"""Parquet files, and folders that the library `datasets` saved, read by pyarrow alone.

pyarrow runs no loading script and opens no network connection for local files.
"""

import glob
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

from visionkit.data.datasets.json_entries import JsonEntries
from visionkit.data.io.image_files import MAX_FILE_BYTES
from visionkit.data.io.json_files import read_json
from visionkit.data.io.paths import read_bytes, require_regular_file, resolve_inside
from visionkit.errors import DataError, VisionkitError
from visionkit.text import format_list, shorten

METADATA_KEY = b"huggingface"
"""Key of the description of the columns in the metadata of a file."""

LIST_TYPES = ("Sequence", "List", "LargeList")


class ArrowTable(NamedTuple):
    """A table: the columns of all files, the description of the columns, and the file or folder, for messages."""

    columns: Any
    features: dict[str, Any]
    source: Path


def read_arrow_files(folder: Path, path: str) -> ArrowTable:
    """Return the table of a Parquet file, of several (`data/train-*.parquet`), or of a folder of `save_to_disk`.

    Parquet files are read into memory; the files of a folder are mapped.

    Args:
        folder: folder of the dataset.
        path: the file, files or folder, relative to `folder`.

    Raises:
        VisionkitError: pyarrow is not installed.
        DataError: the files are missing or damaged, or have different columns.
    """
    pyarrow = _import_pyarrow()
    source = folder / path
    files = _saved_files(source) if source.is_dir() else sorted(map(Path, glob.glob(str(source))))
    if not files:
        raise DataError(f"{source} does not exist; set path to a Parquet file, or to a folder of save_to_disk")
    tables = [_read(file) for file in files]
    try:
        table = pyarrow.concat_tables(tables)
    except pyarrow.ArrowException as error:
        raise DataError(f"{source}: the files have different columns: {_first_line(error)}") from error
    if not table.num_rows:
        raise DataError(f"{source} has no rows")
    return ArrowTable(table, _features(table.schema.metadata or {}, source), source)


def _import_pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise VisionkitError(
            'the huggingface format needs pyarrow, of the extra "hf": pip install "visionkit[hf]"'
        ) from error
    return pyarrow


def _saved_files(folder: Path) -> list[Path]:
    """Return the files of a folder of `save_to_disk`."""
    if (folder / "dataset_dict.json").is_file():
        splits = [name for name in sorted(os.listdir(folder)) if (folder / name / "state.json").is_file()]
        raise DataError(f"{folder} has several splits; set path to the folder of one: {format_list(splits)}")
    if not (folder / "state.json").is_file():
        raise DataError(
            f"{folder} is no folder of save_to_disk: it has no state.json\n"
            "for several Parquet files, set path to a pattern such as data/train-*.parquet"
        )
    state = folder / "state.json"
    content = read_json(state)
    if not isinstance(content, dict):
        raise DataError(f"{state} must hold an object, not {shorten(content)}")
    names = JsonEntries(content.get("_data_files"), "_data_files", "file", state).texts("filename")
    return resolve_inside(folder, names, state)


def _read(path: Path) -> Any:
    """Return the checked table of a file, whose kind follows from its first bytes."""
    pyarrow = _import_pyarrow()
    require_regular_file(path, "data file")
    try:
        with path.open("rb") as file:
            is_parquet = file.read(4) == b"PAR1"
        if is_parquet:
            table = pyarrow.parquet.ParquetFile(path).read()
        else:
            table = pyarrow.ipc.open_stream(pyarrow.memory_map(str(path))).read_all()
        table.validate(full=True)
    except Exception as error:  # a broken file can raise anything, depending on its content
        raise DataError(f"the data file {path} cannot be read: {_first_line(error)}") from error
    return table


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [""])[0][:160] or type(error).__name__


def _features(metadata: dict[bytes, bytes], source: Path) -> dict[str, Any]:
    """Return the description of the columns; empty if the files have none."""
    if METADATA_KEY not in metadata:
        return {}
    try:
        features = json.loads(metadata[METADATA_KEY])["info"]["features"]
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise DataError(f"{source}: the metadata of the columns is not usable: {_first_line(error)}") from error
    if not isinstance(features, dict):
        raise DataError(f"{source}: the metadata of the columns must be an object, not {shorten(features)}")
    return features


def stored_names(features: dict[str, Any], *keys: str) -> list[str] | None:
    """Return the class names of a column of type `ClassLabel`; None if it has none.

    Args:
        features: the description of the columns.
        keys: name of the column, and of the parts inside it ("objects", "category").

    Example:
        >>> from visionkit.data.datasets.arrow_files import stored_names
        >>> label = {"_type": "ClassLabel", "names": ["cat", "dog"]}
        >>> stored_names({"objects": {"_type": "List", "feature": {"category": label}}}, "objects", "category")
        ['cat', 'dog']
    """
    feature: Any = features
    for key in keys:
        feature = _element(feature.get(key)) if isinstance(feature, dict) else None
    if not isinstance(feature, dict) or feature.get("_type") != "ClassLabel":
        return None
    names = feature.get("names")
    return names if isinstance(names, list) and names and all(isinstance(name, str) for name in names) else None


def _element(feature: Any) -> Any:
    """Return the type of the elements of a list; other types as they are."""
    while True:
        if isinstance(feature, list) and len(feature) == 1:
            feature = feature[0]
        elif isinstance(feature, dict) and feature.get("_type") in LIST_TYPES:
            feature = feature.get("feature")
        else:
            return feature


class ArrowImages:
    """The encoded images of a column, which are decoded when they are asked for.

    Args:
        table: the table.
        column: name of the column, which holds the content of image files, or their paths.
        folder: folder that paths are relative to, and must not leave.

    Raises:
        DataError: the table has no such column, or an image has neither content nor path.
    """

    def __init__(self, table: ArrowTable, column: str, folder: Path) -> None:
        names = table.columns.column_names
        if names.count(column) != 1:
            raise DataError(
                f"{table.source} has no column {column}; its columns are {format_list(names)}\n"
                "set image_column in the split to that of the images"
            )
        self._column, self._folder, self._source = table.columns.column(column), folder, table.source
        self._stem = table.source.stem.strip("*-")
        self._check_type(column)

    def __len__(self) -> int:
        return len(self._column)

    def name(self, index: int) -> str:
        """Return the name of the files and the index of the image, such as "train/3"."""
        return f"{self._stem}/{index}"

    def encoded(self, index: int) -> bytes:
        """Return the content of an image file.

        Raises:
            DataError: the row has no image, or the path leads outside of the folder or to no file.
        """
        value = self._column[index].as_py()
        content, path = (value, None) if not isinstance(value, dict) else (value.get("bytes"), value.get("path"))
        if content is not None:
            return bytes(content)
        if path is None:
            raise DataError(f"{self._source}: row {index} has no image")
        return read_bytes(resolve_inside(self._folder, [path], self._source)[0], "image", MAX_FILE_BYTES)

    def _check_type(self, column: str) -> None:
        types = _import_pyarrow().types
        kind = self._column.type
        parts = {field.name: field.type for field in kind} if types.is_struct(kind) else {"bytes": kind}
        checks = {
            "bytes": (types.is_binary, types.is_large_binary, types.is_null),
            "path": (types.is_string, types.is_large_string, types.is_null),
        }
        known = [name for name in checks if name in parts]
        if not known or not all(any(check(parts[name]) for check in checks[name]) for name in known):
            raise DataError(f"{self._source}: the column {column} has the type {str(kind)[:80]}, not that of images")
