"""Reading JSON files."""

import gc
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from visionkit.data.io.paths import read_bytes
from visionkit.errors import DataError


def read_json(path: Path, kind: str = "annotation file") -> Any:
    """Return the content of a JSON file in UTF-8, with or without a byte order mark.

    Args:
        path: the file.
        kind: what it is, for messages.

    Raises:
        DataError: the file does not exist, is not a regular file, is not JSON, or is nested too deeply.
    """
    data = read_bytes(path, kind)
    try:
        with garbage_collection_paused():
            return json.loads(data.decode("utf-8-sig"))
    except RecursionError as error:
        raise DataError(f"{path} is not usable JSON: its values are nested too deeply") from error
    except ValueError as error:
        raise DataError(f"{path} is not JSON: {error}") from error


@contextmanager
def garbage_collection_paused() -> Iterator[None]:
    """Pause the search for circular references. Parsed files have none, and it takes long for large files."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
