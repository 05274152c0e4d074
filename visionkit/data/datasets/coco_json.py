"""Reading COCO's JSON files of instances and of panoptic segments."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.packed_sequence import PackedSequence
from visionkit.data.io.paths import check_files_exist, check_unique, resolve_inside
from visionkit.errors import DataError

Json = dict[str, Any]

REQUIRED_KEYS = {"images": ("id", "file_name", "height", "width"), "categories": ("id", "name")}


def read_json(path: Path, kind: str, annotation_keys: Sequence[str]) -> Json:
    """Return the content of a file with the lists `images`, `annotations` and `categories`.

    Args:
        path: the file.
        kind: which kind of file is expected, for messages ("instances").
        annotation_keys: keys that each annotation must have.

    Raises:
        DataError: the file is not JSON, or a key is missing.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not JSON: {error}") from error
    required = {**REQUIRED_KEYS, "annotations": tuple(annotation_keys)}
    missing = [key for key in required if not isinstance(content, dict) or key not in content]
    if missing:
        raise DataError(f"{path} is not a COCO {kind} file: it has no {', '.join(missing)}")
    for part, keys in required.items():
        for number, entry in enumerate(content[part]):
            missing = [key for key in keys if key not in entry]
            if missing:
                raise DataError(f"{path}: entry {number} of {part} has no {', '.join(missing)}")
    return dict(content)


def select_categories(categories: Sequence[Json], classes: Sequence[str] | None, source: Path) -> dict[str, int]:
    """Return the category ids by class name, in label order.

    Args:
        categories: the entries of the file.
        classes: names of the classes; None takes all categories in ascending order of their ids.
        source: the file, for messages.

    Raises:
        DataError: ids repeat, or a class is not a category.
    """
    check_unique([category["id"] for category in categories], "category ids", source)
    ids = {category["name"]: category["id"] for category in sorted(categories, key=lambda entry: int(entry["id"]))}
    unknown = [name for name in classes or [] if name not in ids]
    if unknown:
        raise DataError(f"{source} has no category {', '.join(unknown)}; it has {', '.join(ids)}"[:400])
    return ids if classes is None else {name: ids[name] for name in classes}


class CocoImageList:
    """The `images` of a COCO file, after checking that all of them exist.

    Args:
        images: the entries of the file.
        folder: folder that their file names are relative to.
        source: the file, for messages.

    Attributes:
        ids: id of each image.
        file_names: file name of each image.
        sizes: int64 [images, 2], (height, width) in pixels.

    Raises:
        DataError: ids repeat, or files are missing or outside the folder.
    """

    def __init__(self, images: Sequence[Mapping[str, Any]], folder: Path, source: Path) -> None:
        check_unique([image["id"] for image in images], "image ids", source)
        check_files_exist(resolve_inside(folder, (image["file_name"] for image in images), source), source)
        self.folder = folder
        self.ids: PackedSequence[int | str] = PackedSequence(image["id"] for image in images)
        self.file_names: PackedSequence[str] = PackedSequence(image["file_name"] for image in images)
        sizes = [[image["height"], image["width"]] for image in images]
        self.sizes: NDArray[np.int64] = np.array(sizes, np.int64).reshape(-1, 2)
