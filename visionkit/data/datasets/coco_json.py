"""What COCO's files of instances and of panoptic segments have in common."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.annotation_table import PackedSequence
from visionkit.data.io.paths import inside, refuse_duplicates, refuse_missing
from visionkit.errors import DataError

Json = dict[str, Any]

NEEDED = {"images": ("id", "file_name", "height", "width"), "categories": ("id", "name")}


def read_json(path: Path, kind: str, annotation_keys: Sequence[str]) -> Json:
    """Read a file with the lists `images`, `annotations` and `categories`.

    Args:
        path: the file.
        kind: what it is to be, for messages ("instances").
        annotation_keys: what each annotation must have.

    Raises:
        DataError: it is not JSON, or something is lacking.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    needed = {**NEEDED, "annotations": tuple(annotation_keys)}
    missing = [key for key in needed if not isinstance(content, dict) or key not in content]
    if missing:
        raise DataError(f"{path} is no COCO {kind} file: it lacks {', '.join(missing)}")
    for part, keys in needed.items():
        for number, entry in enumerate(content[part]):
            absent = [key for key in keys if key not in entry]
            if absent:
                raise DataError(f"{path}: entry {number} of {part} lacks {', '.join(absent)}")
    return dict(content)


def chosen_categories(categories: Sequence[Json], classes: Sequence[str] | None, source: Path) -> dict[str, int]:
    """Ids of the classes by name, in label order: as listed, or all categories in rising order of their ids.

    Raises:
        DataError: ids repeat, or a class is listed that is no category.
    """
    refuse_duplicates([category["id"] for category in categories], "category ids", source)
    known = {category["name"]: category["id"] for category in sorted(categories, key=lambda entry: int(entry["id"]))}
    unknown = [name for name in classes or [] if name not in known]
    if unknown:
        raise DataError(f"{source} has no category {', '.join(unknown)}; it has {', '.join(known)}"[:400])
    return known if classes is None else {name: known[name] for name in classes}


class CocoImages:
    """The images of `images`, every one of them there.

    Args:
        images: entries of the file.
        folder: what their file names are relative to.
        source: the file, for messages.

    Attributes:
        ids, names: id and file name of each.
        sizes: int64 [images, 2], (height, width) in pixels.

    Raises:
        DataError: ids repeat, or files are missing or lie outside of the folder.
    """

    def __init__(self, images: Sequence[Mapping[str, Any]], folder: Path, source: Path) -> None:
        refuse_duplicates([image["id"] for image in images], "image ids", source)
        refuse_missing(inside(folder, (image["file_name"] for image in images), source), source)
        self.folder = folder
        self.ids = PackedSequence([image["id"] for image in images])
        self.names = PackedSequence([image["file_name"] for image in images])
        sizes = [[image["height"], image["width"]] for image in images]
        self.sizes: NDArray[np.int64] = np.array(sizes, np.int64).reshape(-1, 2)
