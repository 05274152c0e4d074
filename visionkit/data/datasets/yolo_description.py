"""Descriptions of a YOLO dataset: `data.yaml` (Ultralytics, Roboflow), `obj.data` and `obj.names` (Darknet)."""

from pathlib import Path
from typing import Any, NamedTuple

from visionkit.data.io.foreign_paths import find_foreign
from visionkit.data.io.paths import read_text
from visionkit.data.io.yaml_files import read_yaml_mapping
from visionkit.errors import DataError
from visionkit.text import shorten

SPLIT_KEYS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
"""Keys of a split's images in the files of different tools."""


class YoloDescription(NamedTuple):
    """Class names in label order, images of each split as the file names them, and whether boxes have keypoints."""

    class_names: list[str]
    images: dict[str, list[str]]
    keypoints: bool = False


def read_description(path: Path) -> YoloDescription:
    """Return the content of `data.yaml`, of Darknet's `obj.data`, or of a list of class names.

    Raises:
        DataError: the file is malformed, or has no class names.
    """
    if path.suffix in (".yaml", ".yml"):
        return _read_yaml(path)
    if path.suffix == ".data":
        return _read_darknet(path)
    return YoloDescription(_read_names(path), {})


def _read_yaml(path: Path) -> YoloDescription:
    content = read_yaml_mapping(path)
    names = content.get("names")
    if isinstance(names, dict):
        if sorted(names) != sorted(map(str, range(len(names)))):
            raise DataError(f"{path}: the keys of names must be 0 to {len(names) - 1}")
        names = [names[str(index)] for index in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{path} has no names of classes (names: [cat, dog])")
    stated = content.get("nc", len(names))
    if stated != len(names):
        raise DataError(f"{path}: nc is {shorten(stated)}, but names has {len(names)} classes")
    folder = content.get("path")
    images = {
        split: _paths(path, folder, next(content[key] for key in keys if key in content))
        for split, keys in SPLIT_KEYS.items()
        if any(content.get(key) for key in keys)
    }
    return YoloDescription(list(map(str, names)), images, "kpt_shape" in content)


def _paths(path: Path, folder: Any, value: Any) -> list[str]:
    entries = value if isinstance(value, list) else [value]
    if not all(isinstance(entry, str) for entry in [*entries, folder or ""]):
        raise DataError(f"{path}: {shorten(value)} is not the path of images, or a list of paths")
    return [f"{folder}/{entry}" if folder else entry for entry in entries]


def _read_darknet(path: Path) -> YoloDescription:
    lines = [line.partition("=") for line in read_text(path).splitlines() if "=" in line]
    content = {key.strip(): value.strip() for key, _, value in lines}
    if "names" not in content:
        raise DataError(f"{path} has no line `names = ...`")
    names = find_foreign(path.parent, content["names"])
    if names is None:
        raise DataError(f"{path}: the file of class names {content['names']} does not exist")
    images = {
        split: [next(content[key] for key in keys if key in content)]
        for split, keys in SPLIT_KEYS.items()
        if any(content.get(key) for key in keys)
    }
    return YoloDescription(_read_names(path.parent / names), images)


def _read_names(path: Path) -> list[str]:
    """Return the lines of a file of class names. Blank lines at its end are left out."""
    names = [line.strip() for line in read_text(path).rstrip().splitlines()]
    if not names:
        raise DataError(f"{path} has no names of classes")
    return names
