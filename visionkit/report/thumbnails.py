"""Thumbnails of samples for HTML pages: an embedded JPEG, and its annotation as SVG shapes and transparent layers."""

import base64
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as rle

from visionkit.data.stats.distributions import SIZE_NAMES, size_class
from visionkit.structures import Color, Sample

LONG_SIDE = 384
"""Longer side of a thumbnail in pixels. Smaller images keep their size."""

QUALITIES = (80, 65, 50, 35, 20)
MAX_JPEG_BYTES = 40_000
"""A thumbnail with more bytes is encoded with the next lower quality: noisy images would make huge pages."""


MAX_OBJECTS = 500
"""Largest number of objects that are drawn on an image."""

MAX_OUTLINE_CHARACTERS = 100_000
"""Largest total length of the outlines of masks on an image. Further objects are left out."""

MAX_LAYER_CHARACTERS = 100_000
"""Layers of a semantic mask that are longer together are drawn with half the resolution, and so on."""

MIN_LAYER_SIDE = 32


class Box(NamedTuple):
    """Object of a thumbnail. All coordinates are pixels of the thumbnail.

    Attributes:
        label: class index.
        size: small, medium or large, by the area in the original image.
        x, y, width, height: the box.
        path: outline of the mask as an SVG path; empty without a mask.
        flags: "crowd" or "difficult", or empty.
        text: size in pixels of the original image.
    """

    label: int
    size: str
    x: float
    y: float
    width: float
    height: float
    path: str
    flags: str
    text: str


class Layer(NamedTuple):
    """Pixels of one class in a semantic mask, as a data URI of a PNG that is transparent elsewhere."""

    label: int
    uri: str


@dataclass(frozen=True)
class Thumbnail:
    """An image of a page.

    Attributes:
        name: file name.
        size: (height, width) of the image in pixels.
        view: (height, width) of the thumbnail in pixels.
        uri: the JPEG as a data URI.
        boxes: the objects that are drawn.
        layers: the classes of the semantic mask.
        labels: classes of the image itself, if it has no objects.
        counts: number of objects by class index and size, also of those that are not drawn.
        notes: what is left out or drawn coarsely, so that pages stay small.
    """

    name: str
    size: tuple[int, int]
    view: tuple[int, int]
    uri: str
    boxes: list[Box]
    layers: list[Layer]
    labels: list[int]
    counts: dict[tuple[int, str], int]
    notes: list[str]

    @property
    def objects_per_class(self) -> dict[int, int]:
        """Number of objects by class index, most frequent first."""
        totals = Counter[int]()
        for (label, _), count in self.counts.items():
            totals[label] += count
        return dict(totals.most_common())

    @property
    def classes(self) -> set[int]:
        """Indices of all classes in the image."""
        return {*self.labels, *(layer.label for layer in self.layers), *(label for label, _ in self.counts)}

    @property
    def keys(self) -> str:
        """Words that the filters of the page search: each class, with a size if it is an object ("0small 2large 4")."""
        others = {*self.labels, *(layer.label for layer in self.layers)}
        return " ".join(sorted({f"{label}{size}" for label, size in self.counts} | {str(label) for label in others}))


def make_thumbnail(sample: Sample, colors: list[Color]) -> Thumbnail:
    """Return the thumbnail of a sample.

    Args:
        sample: image with its annotation.
        colors: color of each class.

    Example:
        >>> from visionkit.data.datasets.shapes import Shapes
        >>> from visionkit.ops.palette import class_color
        >>> from visionkit.report.thumbnails import make_thumbnail
        >>> make_thumbnail(Shapes(size=64)[0], [class_color(label) for label in range(6)]).view
        (64, 64)
    """
    view, uri = shrink(sample.image)
    boxes, counts = _boxes(sample, view), _count_objects(sample)
    layers, coarseness = ([], 1) if sample.semantic is None else mask_layers(sample.semantic, view, colors)
    notes = [f"{len(boxes)} of {len(sample.annotation)} objects drawn"] if len(boxes) < len(sample.annotation) else []
    notes += [f"mask drawn {coarseness} times as coarse as the image"] if coarseness > 1 else []
    labels = [] if boxes or layers else _labels(sample)
    return Thumbnail(sample.file_name, sample.size, view, uri, boxes, layers, labels, counts, notes)


def shrink(image: NDArray[np.uint8]) -> tuple[tuple[int, int], str]:
    """Return the size (height, width) of a thumbnail of an image uint8 [H, W, 3], and the JPEG as a data URI."""
    height, width = image.shape[:2]
    scale = min(LONG_SIDE / max(height, width), 1)
    view = max(round(height * scale), 1), max(round(width * scale), 1)
    small = image if scale == 1 else cv2.resize(image, view[::-1], interpolation=cv2.INTER_AREA)
    return view, data_uri(encode_jpeg(np.asarray(small, np.uint8)), "jpeg")


def _labels(sample: Sample) -> list[int]:
    if sample.tags is not None:
        return [int(tag) for tag in sample.tags]
    return [] if sample.label is None else [sample.label]


def _count_objects(sample: Sample) -> dict[tuple[int, str], int]:
    """Return the number of objects by class index and size."""
    found = sample.annotation
    pairs, counts = np.unique(np.stack([found.labels, size_class(found.area)]), axis=1, return_counts=True)
    return {
        (label, SIZE_NAMES[size]): count for (label, size), count in zip(pairs.T.tolist(), counts.tolist(), strict=True)
    }


def _boxes(sample: Sample, view: tuple[int, int]) -> list[Box]:
    """Return the objects, the largest first, so that small ones are drawn on top.

    Of too many, some of all sizes are returned, evenly spaced in this order.
    """
    order = np.argsort(-sample.annotation.area, kind="stable")
    boxes = _drawn(sample, view, order[evenly_spaced(len(order), MAX_OBJECTS)].tolist())
    characters = sum(len(box.path) for box in boxes)
    if characters <= MAX_OUTLINE_CHARACTERS:
        return boxes
    count = max(len(boxes) * MAX_OUTLINE_CHARACTERS // characters, 1)
    return [boxes[index] for index in evenly_spaced(len(boxes), count)]


def evenly_spaced(length: int, count: int) -> list[int]:
    """Return at most `count` evenly spaced indices of a sequence.

    Example:
        >>> from visionkit.report.thumbnails import evenly_spaced
        >>> evenly_spaced(9, 3)
        [0, 4, 8]
    """
    return np.unique(np.linspace(0, length - 1, min(count, length)).round().astype(int)).tolist()


def _drawn(sample: Sample, view: tuple[int, int], indices: Sequence[int]) -> list[Box]:
    """Return some of the objects."""
    found, (height, width) = sample.annotation, sample.size
    factor = np.array([view[1] / width, view[0] / height] * 2)
    boxes = []
    for index in indices:
        left, top, right, bottom = (found.boxes[index] * factor).round(1).tolist()
        path = "" if found.masks is None else outline(rle.decode(found.masks[index]), factor[:2])
        flags = "crowd" if found.crowd[index] else "difficult" if found.difficult[index] else ""
        across, down = (found.boxes[index, 2:] - found.boxes[index, :2]).tolist()
        text = f"{across:.0f} x {down:.0f} px"
        place = left, top, round(right - left, 1), round(bottom - top, 1)
        size = SIZE_NAMES[int(size_class(found.area[index : index + 1])[0])]
        boxes.append(Box(int(found.labels[index]), size, *place, path, flags, text))
    return boxes


def outline(mask: NDArray[np.uint8], factor: NDArray[np.float64]) -> str:
    """Return the outline of a mask as an SVG path, to half a pixel of the thumbnail. Holes are part of it."""
    contours, _ = cv2.findContours(mask, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    parts = []
    for contour in contours:
        points = (cv2.approxPolyDP(contour, 0.5 / factor.min(), True)[:, 0] + 0.5) * factor
        if len(points) > 2:
            parts.append("M" + " ".join(f"{x:.1f},{y:.1f}" for x, y in points) + "Z")
    return "".join(parts)


def mask_layers(mask: NDArray[np.uint8], view: tuple[int, int], colors: list[Color]) -> tuple[list[Layer], int]:
    """Return the classes of a semantic mask, and how many times as coarse as the thumbnail they are."""
    coarseness = 1
    while True:
        size = max(view[0] // coarseness, 1), max(view[1] // coarseness, 1)
        small = mask if mask.shape == size else cv2.resize(mask, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        labels = [label for label in np.unique(small).tolist() if label < len(colors)]  # others: ignored, or faults
        layers = [Layer(label, layer_uri(np.asarray(small == label), colors[label])) for label in labels]
        if max(size) <= MIN_LAYER_SIDE or sum(len(layer.uri) for layer in layers) <= MAX_LAYER_CHARACTERS:
            return layers, coarseness
        coarseness *= 2


def layer_uri(where: NDArray[np.bool_], color: Color) -> str:
    """Return a PNG of one bit per pixel: the color where the mask is true, and transparent elsewhere."""
    image, file = Image.fromarray(where.astype(np.uint8)), io.BytesIO()
    image.putpalette([0, 0, 0, *color])
    image.save(file, "PNG", bits=1, transparency=0, optimize=True)
    return data_uri(file.getvalue(), "png")


def encode_jpeg(image: NDArray[np.uint8]) -> bytes:
    """Return a JPEG of at most about `MAX_JPEG_BYTES` bytes."""
    for quality in QUALITIES:
        _, encoded = cv2.imencode(".jpg", image[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
        if len(encoded) <= MAX_JPEG_BYTES:
            break
    return encoded.tobytes()


def data_uri(content: bytes, kind: str) -> str:
    """Return an image file, a "jpeg" or "png", as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
