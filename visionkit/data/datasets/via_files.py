"""Files of the VGG Image Annotator (VIA): JSON of versions 1 and 2, projects, and CSV."""

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from visionkit.data.datasets.found_objects import Box, Polygon, box_of
from visionkit.data.datasets.json_entries import JsonEntries
from visionkit.data.datasets.outlines import ellipse, finite, polygon
from visionkit.data.io.csv_rows import read_csv_columns
from visionkit.data.io.json_files import read_json
from visionkit.errors import DataError
from visionkit.text import MAX_NAME, shorten

IMAGES_KEY = "_via_img_metadata"
"""Key of the images in a project."""

SHAPE_COLUMN, CLASS_COLUMN = "region_shape_attributes", "region_attributes"
COLUMNS = ("filename", SHAPE_COLUMN, CLASS_COLUMN)

UNDEFINED = re.compile(r'("(?:[^"\\]|\\[\s\S])*(?:"|\\?\Z))|\bundefined\b')
"""Strings, and the word that VIA writes into a CSV file for an attribute without a value. A string without end reaches
to the end of the text: otherwise it would be searched again from each quotation mark in it."""


class ViaImage(NamedTuple):
    """An image: its file name, and its regions, which have `shape_attributes` and `region_attributes`."""

    name: str
    regions: JsonEntries

    def shapes(self) -> list[dict[str, Any]]:
        """Return the shape of each region."""
        shapes: list[dict[str, Any]] = self.regions.column("shape_attributes", {dict}, "an object")
        return shapes

    def attributes(self) -> list[dict[str, Any]]:
        """Return the attributes of each region that have a value."""
        columns = self.regions.column("region_attributes", {dict}, "an object", optional=True)
        return [{key: value for key, value in (column or {}).items() if value is not None} for column in columns]


def read_via(path: Path) -> list[ViaImage]:
    """Return the images of a JSON or CSV file.

    Raises:
        DataError: the file is not one of VIA.
    """
    return _read_csv(path) if path.suffix.lower() == ".csv" else _read_json(path)


def _read_json(path: Path) -> list[ViaImage]:
    content = read_json(path)
    if isinstance(content, dict) and IMAGES_KEY in content:
        content = content[IMAGES_KEY]
    if not isinstance(content, dict):
        raise DataError(f"{path} is no file of VIA: it must have an object of images, not {shorten(content)}")
    if "project" in content and "metadata" in content:
        raise DataError(f"{path} is a project of VIA 3; versions 1 and 2 are read")
    entries = JsonEntries(list(content.values()), "the images", "image", path)
    wrong = next((key for key, entry in content.items() if "regions" not in entry), None)
    if wrong is not None:
        raise DataError(f"{path}: the image {shorten(wrong)} has no regions, so this is no file of VIA's annotations")
    return [
        _image(path, name, regions)
        for name, regions in zip(
            entries.texts("filename"), entries.column("regions", {list, dict}, "a list or an object"), strict=True
        )
    ]


def _image(path: Path, name: str, regions: list[Any] | dict[str, Any]) -> ViaImage:
    """Return an image. Version 1 has an object of regions, version 2 a list."""
    listed = list(regions.values()) if isinstance(regions, dict) else regions
    return ViaImage(name, JsonEntries(listed, f"the regions of {name[:MAX_NAME]!r}", "region", path))


def _read_csv(path: Path) -> list[ViaImage]:
    """Return the images of a CSV file, which has a row per region, and one for an image without regions."""
    regions: dict[str, list[dict[str, Any]]] = {}
    attributes: dict[str, Any] = {}  # by their text, which many regions share
    for line, (name, shape, text) in read_csv_columns(path, COLUMNS, mark="#"):
        place = f"{path} line {line}"
        if not name:
            raise DataError(f"{place}: the filename is empty")
        parsed = _parse(shape, f"{place}: {SHAPE_COLUMN}")
        if text not in attributes:
            attributes[text] = _parse(text, f"{place}: {CLASS_COLUMN}")
        of_image = regions.setdefault(name, [])
        if parsed != {}:
            of_image.append({"shape_attributes": parsed, "region_attributes": attributes[text]})
    return [_image(path, name, listed) for name, listed in regions.items()]


def _parse(text: str, place: str) -> Any:
    if "undefined" in text:
        text = UNDEFINED.sub(lambda match: match[1] or "null", text)
    try:
        return json.loads(text)
    except RecursionError as error:
        raise DataError(f"{place} is not usable JSON: its values are nested too deeply") from error
    except ValueError as error:
        raise DataError(f"{place} is not JSON: {error}") from error


READ = ("rect", "polygon", "circle", "ellipse")
"""Kinds of shapes that are read."""


def read_shape(shape: dict[str, Any], place: str) -> tuple[Box, list[Polygon]]:
    """Return the box and the polygons of a shape, none of a rectangle.

    Args:
        shape: `shape_attributes` of a region, of the kinds that are read.
        place: where it stands, for messages.

    Raises:
        DataError: the shape is malformed.

    Example:
        >>> from visionkit.data.datasets.via_files import read_shape
        >>> read_shape({"name": "rect", "x": 24, "y": 12, "width": 16, "height": 24}, "a.json")
        ((24.0, 12.0, 40.0, 36.0), [])
    """
    kind = shape["name"]
    if kind == "rect":
        x, y, width, height = _numbers(shape, ("x", "y", "width", "height"), place)
        return (x, y, x + width, y + height), []
    if kind == "polygon":
        outline = _polygon(shape, place)
    else:
        x, y, *radii = _numbers(shape, ("cx", "cy", "r") if kind == "circle" else ("cx", "cy", "rx", "ry"), place)
        outline = ellipse(x, y, radii[0], radii[-1], *finite([shape.get("theta", 0)], place))
    return box_of([outline]), [outline]


def _polygon(shape: dict[str, Any], place: str) -> Polygon:
    x, y = shape.get("all_points_x"), shape.get("all_points_y")
    if not isinstance(x, list) or not isinstance(y, list) or len(x) != len(y):
        raise DataError(f"{place} must have two lists all_points_x and all_points_y of the same length")
    return polygon(finite([value for point in zip(x, y, strict=True) for value in point], place), place)


def _numbers(shape: dict[str, Any], keys: tuple[str, ...], place: str) -> list[float]:
    missing = [key for key in keys if key not in shape]
    if missing:
        raise DataError(f"{place} has no {' and no '.join(missing)}")
    return finite([shape[key] for key in keys], place)
