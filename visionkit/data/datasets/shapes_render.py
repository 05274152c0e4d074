"""Rendering of the `shapes` dataset: shapes as polygons, exact visible masks, textured backgrounds."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

SUPERSAMPLING = 4
"""Factor of the finer grid on which shapes are filled. A pixel belongs to a shape that covers half of it."""

MIN_VISIBLE_SHARE = 0.2
MIN_VISIBLE_PIXELS = 16
"""An object is removed if a smaller share of its area, or fewer pixels, are visible."""

Polygon = NDArray[np.float64]


def _regular_polygon(corners: int, radii: tuple[float, ...] = (1.0,)) -> Polygon:
    """Return corners around the center, [corners, 2]; their distances cycle through `radii`."""
    angles = np.arange(corners) * 2 * np.pi / corners - np.pi / 2
    distances = np.resize(radii, corners)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * distances[:, None]


def _cross(arm: float) -> Polygon:
    """Return a cross of two bars of half-width `arm`."""
    quarter = np.array([[arm, -1], [arm, -arm], [1, -arm]])
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    return np.concatenate([quarter @ np.linalg.matrix_power(turn, k) for k in range(4)])


SHAPE_OUTLINES: dict[str, list[Polygon]] = {
    "disc": [_regular_polygon(40)],
    "square": [_regular_polygon(4)],
    "triangle": [_regular_polygon(3)],
    "star": [_regular_polygon(10, (1.0, 0.42))],
    "ring": [_regular_polygon(40), _regular_polygon(40) * 0.55],
    "cross": [_cross(0.3)],
}
"""Outlines of radius 1 by class name; a second outline is a hole."""


@dataclass
class ShapeInstance:
    """One object before it is partly hidden by others.

    Attributes:
        label: index into SHAPE_OUTLINES.
        left, top: position of `coverage` in the image, in pixels.
        coverage: float32 [h, w], share of each pixel that the shape covers, cut at the image's border.
        whole_area: area of the whole shape in square pixels, including the part outside the image.
    """

    label: int
    left: int
    top: int
    coverage: NDArray[np.float32]
    whole_area: float

    @property
    def window(self) -> tuple[slice, slice]:
        """The rows and columns of the image that `coverage` belongs to."""
        height, width = self.coverage.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


@dataclass
class Scene:
    """The objects of an image in drawing order, and which of them is visible at each pixel.

    Attributes:
        objects: the N objects.
        object_map: int16 [H, W], number of the object that is visible at each pixel, from 1; 0 is the background.
    """

    objects: list[ShapeInstance]
    object_map: NDArray[np.int16]

    @property
    def labels(self) -> NDArray[np.int64]:
        """The class of each object, int64 [N]."""
        return np.array([shape.label for shape in self.objects], np.int64)

    def areas(self) -> NDArray[np.int64]:
        """Return the number of visible pixels of each object, int64 [N]."""
        return np.bincount(self.object_map.ravel(), minlength=len(self.objects) + 1)[1:]

    def masks(self) -> NDArray[np.uint8]:
        """Return the mask of the visible pixels of each object, uint8 [N, H, W]."""
        return (self.object_map == np.arange(1, len(self.objects) + 1)[:, None, None]).astype(np.uint8)

    def boxes(self) -> NDArray[np.float32]:
        """Return the boxes around the visible pixels, xyxy edges, float32 [N, 4]."""
        corners = [cv2.boundingRect(mask) for mask in self.masks()]
        boxes = np.array(corners, np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return boxes


def random_shape(random: Generator, size: tuple[int, int], diameters: tuple[float, float]) -> ShapeInstance:
    """Return a shape of random class, size, stretch, rotation and position in an image of `size` (height, width)."""
    height, width = size
    label = int(random.integers(len(SHAPE_OUTLINES)))
    radius = random.uniform(*diameters) / 2
    angle = random.uniform(0, 2 * np.pi)
    stretch = np.diag([1.0, random.uniform(0.7, 1.0)])
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    center = random.uniform(0, [width, height])
    outlines = [polygon @ stretch @ rotation * radius + center for polygon in list(SHAPE_OUTLINES.values())[label]]
    left, top = np.floor(outlines[0].min(axis=0)).astype(int)
    right, bottom = np.ceil(outlines[0].max(axis=0)).astype(int) + 1
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    coverage = _coverage(outlines, left, top, max(right - left, 1), max(bottom - top, 1))
    whole = abs(_area(outlines[0])) - sum(abs(_area(hole)) for hole in outlines[1:])
    return ShapeInstance(label, left, top, coverage, whole)


def compose_scene(objects: list[ShapeInstance], size: tuple[int, int]) -> Scene:
    """Return the scene of objects that are drawn one over the other, without objects that are hardly visible."""
    scene = _stack(objects, size)
    min_areas = [max(MIN_VISIBLE_SHARE * shape.whole_area, MIN_VISIBLE_PIXELS) for shape in objects]
    kept = scene.areas() >= np.array(min_areas)
    # Removing an object hides no other, so one pass is enough.
    return scene if kept.all() else _stack([shape for shape, keep in zip(objects, kept, strict=True) if keep], size)


def paint_scene(random: Generator, background: NDArray[np.float32], scene: Scene) -> NDArray[np.uint8]:
    """Return the objects of a scene painted over a background, uint8 [H, W, 3]."""
    image = background.copy()
    for shape in scene.objects:
        window = image[shape.window]
        alpha = shape.coverage[..., None]
        window += alpha * (_surface(random, window) - window)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def random_background(random: Generator, size: tuple[int, int], texture: float) -> NDArray[np.float32]:
    """Return a background of two blended colors, clouds, stripes and noise; float32 [H, W, 3] in 0..255."""
    height, width = size
    first, second = random.uniform(40, 215, (2, 3))
    blend = _clouds(random, size, cells=int(random.integers(2, 5)))
    image = first + (second - first) * texture * blend
    y, x = np.mgrid[:height, :width].astype(np.float32)
    direction, period = random.uniform(0, np.pi), random.uniform(6, 24)
    stripes = np.sin((x * np.cos(direction) + y * np.sin(direction)) * 2 * np.pi / period)
    image += 30 * texture * random.random() * stripes[..., None]
    image += 40 * texture * (_clouds(random, size, cells=int(random.integers(6, 16))) - 0.5)
    noise = random.standard_normal((height, width, 1), dtype=np.float32)
    return (image + 8 * texture * noise).astype(np.float32)


def _coverage(outlines: list[Polygon], left: int, top: int, width: int, height: int) -> NDArray[np.float32]:
    fine = np.zeros((height * SUPERSAMPLING, width * SUPERSAMPLING), np.uint8)
    fraction_bits = 4
    # OpenCV's coordinates are pixel centers, half a fine pixel from the edges.
    for number, outline in enumerate(outlines):
        fine_corners = (outline - (left, top)) * SUPERSAMPLING - 0.5
        points = np.rint(fine_corners * 2**fraction_bits).astype(np.int32)
        cv2.fillPoly(fine, [points], 0 if number else 255, shift=fraction_bits)
    return np.float32(1 / 255) * np.asarray(cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA))


def _stack(objects: list[ShapeInstance], size: tuple[int, int]) -> Scene:
    object_map = np.zeros(size, np.int16)
    for number, shape in enumerate(objects, start=1):
        object_map[shape.window][shape.coverage >= 0.5] = number
    return Scene(objects, object_map)


def _surface(random: Generator, background: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a shaded color that differs from the mean of the background; float32 [h, w, 3]."""
    mean = background.mean(axis=(0, 1))
    candidates = random.uniform(0, 255, (4, 3))
    color = candidates[np.linalg.norm(candidates - mean, axis=1).argmax()]
    height, width = background.shape[:2]
    slope = random.uniform(-25, 25, 2)
    shade = np.linspace(-1, 1, height)[:, None] * slope[0] + np.linspace(-1, 1, width) * slope[1]
    return (color + shade[..., None]).astype(np.float32)


def _clouds(random: Generator, size: tuple[int, int], cells: int) -> NDArray[np.float32]:
    """Return smooth random values in about 0..1, float32 [H, W, 1]."""
    coarse = random.random((cells, cells), dtype=np.float32)
    return np.asarray(cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC), np.float32)[..., None]


def _area(polygon: Polygon) -> float:
    """Return the signed area of a polygon by the shoelace formula."""
    x, y = polygon.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
