"""Reading COCO's JSON files of instances and of panoptic segments."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.class_checks import check_class_names
from visionkit.data.datasets.json_entries import JsonEntries
from visionkit.data.datasets.packed_sequence import PackedSequence
from visionkit.data.io.image_files import MAX_PIXELS
from visionkit.data.io.json_files import read_json
from visionkit.data.io.paths import check_files_exist, check_unique, resolve_inside
from visionkit.errors import DataError
from visionkit.text import shorten

PARTS = {"images": "image", "categories": "category", "annotations": "annotation"}
"""The lists of a file, and what an entry of each is."""

LARGEST_ID = 2**53
"""Largest category id. JavaScript and spreadsheets change larger integers."""


def read_coco(path: Path, kind: str, only: str | None = None) -> dict[str, JsonEntries]:
    """Return the lists `images`, `annotations` and `categories` of a file.

    Args:
        path: the file.
        kind: which kind of file is expected, for messages ("instances").
        only: pattern of the file names of the images to return ("train/*"), with their annotations. None returns all.

    Raises:
        DataError: the file is not JSON, a list is missing, or no file name matches `only`.
    """
    content = read_json(path)
    missing = [part for part in PARTS if not isinstance(content, dict) or part not in content]
    if missing:
        raise DataError(f"{path} is not a COCO {kind} file: it has no {', '.join(missing)}")
    parts = {part: JsonEntries(content[part], part, entry, path) for part, entry in PARTS.items()}
    return parts if only is None else _select_images(parts, only)


def _select_images(parts: dict[str, JsonEntries], only: str) -> dict[str, JsonEntries]:
    """Leave out the images whose file names do not match a pattern, and their annotations."""
    images, annotations = parts["images"], parts["annotations"]
    ids, names = images.ids("id"), images.texts("file_name")
    check_unique(ids, "image ids", images.source)
    kept = np.array([fnmatchcase(name, only) for name in names], bool)
    if names and not kept.any():
        raise DataError(
            f"{images.source}: no image has a file name that matches only: {only!r}\n"
            f"the file names are such as {shorten(names[0])}; * matches any characters"
        )
    left_out = {ids[index] for index in np.flatnonzero(~kept)}
    own = np.array([image_id not in left_out for image_id in annotations.ids("image_id")], bool)
    return {**parts, "images": images.select(kept), "annotations": annotations.select(own)}


class CocoCategories:
    """The `categories` of a COCO file.

    Args:
        categories: the entries of the file.
        classes: names of the classes; None takes all categories in ascending order of their ids.

    Attributes:
        all_ids: ids of all categories.
        chosen: category ids by class name, in label order; of several categories with one name, the largest id.
        labels: label by category id. Categories with one name are one class: Roboflow, for example, writes such files.

    Raises:
        DataError: an id or a name is no usable value, ids repeat, or a class is not a category.
    """

    def __init__(self, categories: JsonEntries, classes: Sequence[str] | None) -> None:
        source = categories.source
        ids = categories.integers("id", -LARGEST_ID, LARGEST_ID).tolist()
        check_unique(ids, "category ids", source)
        self.all_ids = set(ids)
        names = categories.texts("name")
        by_name = {name: own_id for own_id, name in sorted(zip(ids, names, strict=True))}
        unknown = [name for name in classes or [] if name not in by_name]
        if unknown:
            raise DataError(f"{source} has no category {', '.join(unknown)}; it has {', '.join(by_name)}"[:400])
        self.chosen = by_name if classes is None else {name: by_name[name] for name in classes}
        check_class_names(list(self.chosen))
        label_of = {name: label for label, name in enumerate(self.chosen)}
        self.labels = {own_id: label_of[name] for own_id, name in zip(ids, names, strict=True) if name in label_of}

    def check_known(self, entries: JsonEntries) -> list[int]:
        """Return the `category_id` of each entry.

        Raises:
            DataError: one is not the id of a category.
        """
        ids: list[Any] = entries.ids("category_id")
        if not self.all_ids.issuperset(ids):
            index = next(index for index, value in enumerate(ids) if value not in self.all_ids)
            entries.fail(index, f"has an unknown category {shorten(ids[index])}")
        return ids


class CocoImageList:
    """The `images` of a COCO file, after checking that all of them exist.

    Args:
        images: the entries of the file.
        folder: folder that their file names are relative to.

    Attributes:
        ids: id of each image.
        file_names: file name of each image.
        sizes: int64 [images, 2], (height, width) in pixels.

    Raises:
        DataError: an id, a name or a size is no usable value, ids repeat, or files are missing or outside the folder.
    """

    def __init__(self, images: JsonEntries, folder: Path) -> None:
        ids, names = images.ids("id"), images.texts("file_name")
        check_unique(ids, "image ids", images.source)
        check_files_exist(resolve_inside(folder, names, images.source), images.source)
        self.folder = folder
        self.ids: PackedSequence[int | str] = PackedSequence(ids)
        self.file_names: PackedSequence[str] = PackedSequence(names)
        sides = [images.integers(key, 1, MAX_PIXELS) for key in ("height", "width")]
        self.sizes: NDArray[np.int64] = np.stack(sides, axis=1)
        images.fail_first(
            self.sizes.prod(axis=1) > MAX_PIXELS,
            lambda index: f"has {self.sizes[index].tolist()} pixels; at most {MAX_PIXELS} are read",
        )


def find_images(entries: JsonEntries, index_of_id: Mapping[int | str, int]) -> NDArray[np.int64]:
    """Return the index of the image of each entry, from its `image_id`.

    Raises:
        DataError: an id is not that of an image.
    """
    ids = entries.ids("image_id")
    indices = np.array([index_of_id.get(image_id, -1) for image_id in ids], np.int64)
    entries.fail_first(indices < 0, lambda index: f"has an unknown image {shorten(ids[index])}")
    return indices
