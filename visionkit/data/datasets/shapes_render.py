"""Drawing for the `shapes` data set: forms as polygons, exact visible masks, textured grounds."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

SUPERSAMPLING = 4
"""Forms are filled on a grid this much finer: edges are smooth; a pixel belongs to a form that covers half of it."""

LEAST_VISIBLE_SHARE = 0.2
LEAST_VISIBLE_PIXELS = 16
"""An object of which less is visible (over its whole form; in pixels) is taken out of the image."""

Polygon = NDArray[np.float64]


def _regular(corners: int, radii: tuple[float, ...] = (1.0,)) -> Polygon:
    """Corners around the center, [corners, 2], whose distances run through `radii`."""
    angles = np.arange(corners) * 2 * np.pi / corners - np.pi / 2
    distances = np.resize(radii, corners)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) * distances[:, None]


def _plus(arm: float) -> Polygon:
    """A cross of two bars of half-width `arm`."""
    quarter = np.array([[arm, -1], [arm, -arm], [1, -arm]])
    turn = np.array([[0.0, 1.0], [-1.0, 0.0]])
    return np.concatenate([quarter @ np.linalg.matrix_power(turn, k) for k in range(4)])


FORMS: dict[str, list[Polygon]] = {
    "disc": [_regular(40)],
    "square": [_regular(4)],
    "triangle": [_regular(3)],
    "star": [_regular(10, (1.0, 0.42))],
    "ring": [_regular(40), _regular(40) * 0.55],
    "cross": [_plus(0.3)],
}
"""Outlines of unit radius by class name; a second outline is a hole."""


@dataclass
class Placed:
    """One object before anything hides it.

    Attributes:
        label: index into FORMS.
        left, top: pixel at which `coverage` lies.
        coverage: float32 [h, w], share of each pixel that the form covers; already cut at the image's border.
        whole_area: square pixels of the form, also of what the border cuts.
    """

    label: int
    left: int
    top: int
    coverage: NDArray[np.float32]
    whole_area: float

    @property
    def window(self) -> tuple[slice, slice]:
        """Rows and columns of the image that `coverage` lies on."""
        height, width = self.coverage.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


@dataclass
class Scene:
    """What can be seen of the objects, in drawing order.

    Attributes:
        objects: the N objects that stay.
        owner: int16 [H, W], number of the object seen at each pixel from 1, 0 for the ground.
    """

    objects: list[Placed]
    owner: NDArray[np.int16]

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class of each object, int64 [N]."""
        return np.array([placed.label for placed in self.objects], np.int64)

    def areas(self) -> NDArray[np.int64]:
        """Visible pixels of each object, int64 [N]."""
        return np.bincount(self.owner.ravel(), minlength=len(self.objects) + 1)[1:]

    def masks(self) -> NDArray[np.uint8]:
        """Visible pixels of each object, uint8 [N, H, W]."""
        return (self.owner == np.arange(1, len(self.objects) + 1)[:, None, None]).astype(np.uint8)

    def boxes(self) -> NDArray[np.float32]:
        """Bounds of the visible pixels as edges, xyxy float32 [N, 4]."""
        corners = [cv2.boundingRect(mask) for mask in self.masks()]
        boxes = np.array(corners, np.float32).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        return boxes


def place(random: Generator, size: tuple[int, int], diameters: tuple[float, float]) -> Placed:
    """Put an object of random form, size, stretch, rotation and place into an image of `size` (height, width)."""
    height, width = size
    label = int(random.integers(len(FORMS)))
    radius = random.uniform(*diameters) / 2
    angle = random.uniform(0, 2 * np.pi)
    stretch = np.diag([1.0, random.uniform(0.7, 1.0)])
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    center = random.uniform(0, [width, height])
    outlines = [polygon @ stretch @ rotation * radius + center for polygon in list(FORMS.values())[label]]
    left, top = np.floor(outlines[0].min(axis=0)).astype(int)
    right, bottom = np.ceil(outlines[0].max(axis=0)).astype(int) + 1
    left, top, right, bottom = max(left, 0), max(top, 0), min(right, width), min(bottom, height)
    coverage = _coverage(outlines, left, top, max(right - left, 1), max(bottom - top, 1))
    whole = abs(_area(outlines[0])) - sum(abs(_area(hole)) for hole in outlines[1:])
    return Placed(label, left, top, coverage, whole)


def compose(objects: list[Placed], size: tuple[int, int]) -> Scene:
    """Lay objects over each other; those that are hidden or cut too far are left out, which hides nothing new."""
    scene = _stack(objects, size)
    least = [max(LEAST_VISIBLE_SHARE * placed.whole_area, LEAST_VISIBLE_PIXELS) for placed in objects]
    seen = scene.areas() >= np.array(least)
    return scene if seen.all() else _stack([placed for placed, stays in zip(objects, seen, strict=True) if stays], size)


def paint(random: Generator, ground: NDArray[np.float32], scene: Scene) -> NDArray[np.uint8]:
    """Color the objects of a scene over the ground; returns uint8 [H, W, 3]."""
    image = ground.copy()
    for placed in scene.objects:
        window = image[placed.window]
        alpha = placed.coverage[..., None]
        window += alpha * (_surface(random, window) - window)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def background(random: Generator, size: tuple[int, int], texture: float) -> NDArray[np.float32]:
    """A ground of two blended colors, clouds, stripes and grain; float32 [H, W, 3] in 0..255."""
    height, width = size
    first, second = random.uniform(40, 215, (2, 3))
    blend = _clouds(random, size, cells=int(random.integers(2, 5)))
    ground = first + (second - first) * texture * blend
    y, x = np.mgrid[:height, :width].astype(np.float32)
    direction, period = random.uniform(0, np.pi), random.uniform(6, 24)
    stripes = np.sin((x * np.cos(direction) + y * np.sin(direction)) * 2 * np.pi / period)
    ground += 30 * texture * random.random() * stripes[..., None]
    ground += 40 * texture * (_clouds(random, size, cells=int(random.integers(6, 16))) - 0.5)
    grain = random.standard_normal((height, width, 1), dtype=np.float32)
    return (ground + 8 * texture * grain).astype(np.float32)


def _coverage(outlines: list[Polygon], left: int, top: int, width: int, height: int) -> NDArray[np.float32]:
    fine = np.zeros((height * SUPERSAMPLING, width * SUPERSAMPLING), np.uint8)
    fraction_bits = 4
    # OpenCV counts from pixel centers: half a fine pixel lies between its grid and the image's edges.
    for number, outline in enumerate(outlines):
        fine_corners = (outline - (left, top)) * SUPERSAMPLING - 0.5
        points = np.rint(fine_corners * 2**fraction_bits).astype(np.int32)
        cv2.fillPoly(fine, [points], 0 if number else 255, shift=fraction_bits)
    return np.float32(1 / 255) * np.asarray(cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA))


def _stack(objects: list[Placed], size: tuple[int, int]) -> Scene:
    owner = np.zeros(size, np.int16)
    for number, placed in enumerate(objects, start=1):
        owner[placed.window][placed.coverage >= 0.5] = number
    return Scene(objects, owner)


def _surface(random: Generator, ground: NDArray[np.float32]) -> NDArray[np.float32]:
    """A shaded color that stands out from the ground's mean; float32 [h, w, 3]."""
    mean = ground.mean(axis=(0, 1))
    candidates = random.uniform(0, 255, (4, 3))
    color = candidates[np.linalg.norm(candidates - mean, axis=1).argmax()]
    height, width = ground.shape[:2]
    slope = random.uniform(-25, 25, 2)
    shade = np.linspace(-1, 1, height)[:, None] * slope[0] + np.linspace(-1, 1, width) * slope[1]
    return (color + shade[..., None]).astype(np.float32)


def _clouds(random: Generator, size: tuple[int, int], cells: int) -> NDArray[np.float32]:
    """Smooth random values in about 0..1, float32 [H, W, 1]."""
    coarse = random.random((cells, cells), dtype=np.float32)
    return np.asarray(cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC), np.float32)[..., None]


def _area(polygon: Polygon) -> float:
    """Signed area of a polygon by the shoelace formula."""
    x, y = polygon.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
