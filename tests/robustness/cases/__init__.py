"""The kinds of cases: how damaged files are written, and how the package is run on them."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

NAMES = (
    *("coco", "voc", "masks", "csv_and_folders", "recipes", "cards", "checkpoints", "images", "archives", "overrides"),
    "packed",
    *("yolo", "json_exports", "xml_exports", "csv_exports", "huggingface", "folders", "conversion"),
)


@dataclass(frozen=True)
class Kind:
    """A kind of cases.

    Attributes:
        prepare: writes the files of a case into a folder, and returns the words that `run` takes.
        run: runs the package on them, in that folder; see `boundary.run_here` for how it ends.
        confined: whether nothing beside the folder may be read.
    """

    prepare: Callable[[Random, Path], list[str]]
    run: Callable[..., None]
    confined: bool = False


def kind_of(name):
    """Return the kind with a name of `NAMES`."""
    return importlib.import_module(f"tests.robustness.cases.{name}").KIND
