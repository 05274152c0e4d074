"""JSON files of LabelMe: one per image, with its shapes."""

import math
from pathlib import Path
from typing import Any, NamedTuple

from visionkit.data.datasets.found_objects import Box, Polygon, box_of
from visionkit.data.datasets.json_entries import JsonEntries
from visionkit.data.datasets.outlines import ellipse, finite, polygon
from visionkit.data.io.json_files import read_json
from visionkit.errors import DataError
from visionkit.text import shorten

NO_CLASSES = ("__ignore__", "_background_")
"""Names in `labels.txt` and labels of shapes that LabelMe's own converters do not take for classes."""

READ = ("rectangle", "polygon", "circle")
"""Kinds of shapes that are read."""

RECTANGLE_POINTS = (2, 4)
"""LabelMe writes two opposite corners; some programs write all four."""


class LabelmeShape(NamedTuple):
    """A shape: label, box, polygons (none of a rectangle), group or None, and its place for messages."""

    label: str
    box: Box
    polygons: list[Polygon]
    group: int | str | None
    place: str


class LabelmeFile(NamedTuple):
    """A JSON file of LabelMe.

    Attributes:
        path: the file.
        image: path of the image as the file has it.
        size: (height, width) of the image that the file states; None if it does not.
        has_image_data: whether the image itself is in the file, too.
        shapes: the shapes.
    """

    path: Path
    image: str
    size: tuple[int, int] | None
    has_image_data: bool
    shapes: JsonEntries

    def kinds(self) -> list[str]:
        """Return the kind of each shape. Files of old versions have no kinds, but polygons only."""
        kinds = self.shapes.column("shape_type", {str}, "a string", optional=True)
        return [kind or "polygon" for kind in kinds]

    def labels(self) -> set[str]:
        """Return the labels of the shapes that are read."""
        labels = zip(self.shapes.texts("label"), self.kinds(), strict=True)
        return {label for label, kind in labels if kind in READ} - set(NO_CLASSES)

    def read_shapes(self, which: list[int]) -> list[LabelmeShape]:
        """Return some of the shapes, given by their indices, which are of the kinds that are read."""
        labels, kinds = self.shapes.texts("label"), self.kinds()
        points = self.shapes.column("points", {list}, "a list of points")
        groups = self.shapes.column("group_id", {int, str}, "an integer, or null", optional=True)
        shapes = []
        for index in which:
            place = f"{self.path} shape {index}"
            box, polygons = _geometry(kinds[index], _coordinates(points[index], place), place)
            shapes.append(LabelmeShape(labels[index], box, polygons, groups[index], place))
        return shapes


def read_labelme(path: Path) -> LabelmeFile:
    """Return the content of a JSON file of LabelMe, whose shapes are not checked yet.

    Raises:
        DataError: the file is not one of LabelMe.
    """
    content = read_json(path)
    if not isinstance(content, dict) or "shapes" not in content:
        raise DataError(f"{path} has no shapes, so it is no file of LabelMe; give its folder as annotations=...")
    image = content.get("imagePath")
    if not isinstance(image, str) or not image.strip():
        raise DataError(f"{path} has the imagePath {shorten(image)}; it must be the path of an image")
    shapes = JsonEntries(content["shapes"], "shapes", "shape", path)
    return LabelmeFile(path, image, _size(content, path), bool(content.get("imageData")), shapes)


def _size(content: dict[str, Any], path: Path) -> tuple[int, int] | None:
    height, width = content.get("imageHeight"), content.get("imageWidth")
    if height is None and width is None:
        return None
    if type(height) is not int or type(width) is not int:
        raise DataError(
            f"{path}: imageHeight and imageWidth are {shorten(height)} and {shorten(width)}; they must be integers"
        )
    return height, width


def _coordinates(points: list[Any], place: str) -> list[float]:
    """Return points [[x, y], ...] as [x, y, x, y, ...]."""
    if not all(type(point) is list and len(point) == 2 for point in points):
        raise DataError(f"{place} has the points {shorten(points)}; they must be [[x, y], ...]")
    return finite([value for point in points for value in point], place)


def _geometry(kind: str, numbers: list[float], place: str) -> tuple[Box, list[Polygon]]:
    if kind == "rectangle":
        if len(numbers) // 2 not in RECTANGLE_POINTS:
            raise DataError(f"{place} is a rectangle of {len(numbers) // 2} points; it must have 2 or 4 corners")
        return box_of([numbers]), []
    outline = _circle(numbers, place) if kind == "circle" else polygon(numbers, place)
    return box_of([outline]), [outline]


def _circle(numbers: list[float], place: str) -> Polygon:
    """Return the polygon of a circle, which has its center and a point on its rim."""
    if len(numbers) != 4:
        raise DataError(f"{place} is a circle of {len(numbers) // 2} points; it must have a center and a point")
    x, y, rim_x, rim_y = numbers
    radius = math.hypot(rim_x - x, rim_y - y)
    return ellipse(x, y, radius, radius)
