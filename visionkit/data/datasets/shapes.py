"""The `shapes` format: rendered images of simple shapes, which need no files."""

import functools
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pycocotools import mask as rle

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.base_segmentation import BACKGROUND
from visionkit.data.datasets.shapes_render import (
    SHAPE_OUTLINES,
    Scene,
    compose_scene,
    paint_scene,
    random_background,
    random_shape,
)
from visionkit.errors import ConfigError
from visionkit.structures import Annotation, Color, Sample

MAX_COUNT, MAX_SIDE, MAX_OBJECTS = 10_000_000, 16_384, 1_000
"""Largest number of images (their order is drawn in memory), height and width in pixels, and number of objects."""

MIN_DIAMETER = 12
"""Minimum diameter in pixels of the largest object; below it, hardly any object is large enough to be kept."""


@formats.register("shapes", options_for={"semantic": {"semantic": True}})
class Shapes:
    """Rendered images of discs, squares, triangles, stars, rings and crosses on textured backgrounds.

    Images, boxes and masks depend only on the arguments and the index, so every worker and process gets the same.
    Another build of OpenCV may differ by one gray level in about one color value in a million. An object is annotated
    by its visible part. An object that is mostly hidden or cut off is removed from the image, so every visible object
    is annotated. If objects are only about ten pixels large, many are removed, and more images than `empty_share`
    are empty.

    The `label` of a sample is the class of the object with the most visible pixels, None in an empty image.

    Args:
        root: not used, because there are no files.
        split: any name; splits with different names have no image in common.
        count: number of images; image i does not depend on it.
        size: height and width in pixels, or one number for both.
        seed: seed of the images, 0 or more.
        min_object, max_object: range of the diameter of an object, as a share of the image's short side; uniform.
        max_objects: the number of objects in an image is uniform from 1 to this.
        empty_share: share of images without objects, 0 to 1.
        texture: contrast of the background, 0 (plain) to 1 (as strong as the objects).
        semantic: whether samples have a semantic mask; class 0 is then `background`, followed by the six shapes.
        classes: class names; None, or equal to the class names.

    Raises:
        ConfigError: an argument has the wrong type or is out of range.

    Example:
        >>> from visionkit.data.datasets.shapes import Shapes
        >>> dataset = Shapes(count=10, size=64)
        >>> len(dataset), dataset[0].image.shape
        (10, (64, 64, 3))
    """

    def __init__(
        self,
        root: Path | None = None,
        split: str = "train",
        count: int = 1000,
        size: int | Sequence[int] = 128,
        seed: int = 0,
        min_object: float = 0.2,
        max_object: float = 0.6,
        max_objects: int = 5,
        empty_share: float = 0.05,
        texture: float = 0.5,
        semantic: bool = False,
        classes: list[str] | None = None,
    ) -> None:
        self._class_offset = int(semantic)
        self.class_names = [*([BACKGROUND] if semantic else []), *SHAPE_OUTLINES]
        self.category_ids = [*([0] if semantic else []), *range(1, len(SHAPE_OUTLINES) + 1)]
        self.class_colors: list[Color] | None = None
        self.report: dict[str, int] = {}
        if classes is not None and classes != self.class_names:
            raise ConfigError(f"data.classes must be left out or equal {self.class_names} for the shapes format")
        if not isinstance(split, str):
            raise ConfigError(f"shapes: split must be a string, not {split!r}; put digits in quotes")
        self.count, self.size = _check_integer("count", count, 1, MAX_COUNT), _check_size(size)
        self.max_objects = _check_integer("max_objects", max_objects, 1, MAX_OBJECTS)
        self.empty_share, self.texture = _check_share("empty_share", empty_share), _check_share("texture", texture)
        self.diameters = _check_diameters(min_object, max_object, min(self.size))
        self._key = _check_integer("seed", seed, minimum=0), zlib.crc32(split.encode())
        self._split = split
        self._rendered = functools.lru_cache(maxsize=2)(self._render)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        image, scene = self._rendered(index)
        name, annotation, semantic = f"shapes/{self._split}/{index}", self._annotation(scene), self._semantic(scene)
        label, tags = self._label(scene), self._tags(scene)
        return Sample(image.copy(), self.image_id(index), name, annotation, semantic, label, tags)

    def __getstate__(self) -> dict[str, object]:
        # The cache wraps a bound method, which cannot be pickled for a spawned worker.
        return {key: value for key, value in self.__dict__.items() if key != "_rendered"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._rendered = functools.lru_cache(maxsize=2)(self._render)

    def image_id(self, index: int) -> int:
        """Return the index."""
        return index

    def annotation(self, index: int) -> Annotation:
        """See `VisionDataset`; composes the scene without painting it."""
        return self._annotation(self._scene(index, self._generator(index)))

    def label(self, index: int) -> int | None:
        """See `VisionDataset`."""
        return self._label(self._scene(index, self._generator(index)))

    def tags(self, index: int) -> NDArray[np.int64]:
        """See `VisionDataset`."""
        return self._tags(self._scene(index, self._generator(index)))

    def has_semantic(self, index: int) -> bool:
        """Return whether the dataset has semantic masks."""
        return bool(self._class_offset)

    def semantic(self, index: int) -> NDArray[np.uint8] | None:
        """See `VisionDataset`."""
        return self._semantic(self._scene(index, self._generator(index)))

    def image_size(self, index: int) -> tuple[int, int]:
        """Return (height, width) in pixels, which is the same for all images."""
        return self.size

    def _generator(self, index: int) -> Generator:
        if not 0 <= index < self.count:
            raise IndexError(f"shapes: image {index} of {self.count}")
        return np.random.default_rng([*self._key, index])

    def _scene(self, index: int, random: Generator) -> Scene:
        count = 0 if random.random() < self.empty_share else int(random.integers(1, self.max_objects + 1))
        return compose_scene([random_shape(random, self.size, self.diameters) for _ in range(count)], self.size)

    def _render(self, index: int) -> tuple[np.ndarray, Scene]:
        random = self._generator(index)
        scene = self._scene(index, random)
        return paint_scene(random, random_background(random, self.size, self.texture), scene), scene

    def _label(self, scene: Scene) -> int | None:
        """Return the class of the object with the most visible pixels."""
        return int(self._labels(scene)[scene.areas().argmax()]) if len(scene.objects) else None

    def _tags(self, scene: Scene) -> NDArray[np.int64]:
        return np.unique(self._labels(scene)).astype(np.int64)

    def _annotation(self, scene: Scene) -> Annotation:
        boxes, masks = scene.boxes(), scene.masks()
        no_flags = np.zeros(len(boxes), bool)
        area = scene.areas().astype(np.float32)
        rles = [rle.encode(np.asfortranarray(mask)) for mask in masks]
        return Annotation(boxes, self._labels(scene), no_flags, no_flags.copy(), area, rles)

    def _semantic(self, scene: Scene) -> NDArray[np.uint8] | None:
        """Return the semantic mask; None if the dataset has no semantic masks."""
        if not self._class_offset:
            return None
        return np.concatenate([[0], self._labels(scene)])[scene.object_map].astype(np.uint8)

    def _labels(self, scene: Scene) -> NDArray[np.int64]:
        """Return the class of each object; it is shifted by one if class 0 is `background`."""
        return scene.labels + self._class_offset


def _check_integer(name: str, value: object, minimum: int, maximum: int | None = None) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < minimum:
        raise ConfigError(f"shapes: {name} must be an integer of at least {minimum}, not {value!r}")
    if maximum is not None and value > maximum:
        raise ConfigError(f"shapes: {name} must be at most {maximum}, not {value!r}")
    return int(value)


def _check_share(name: str, value: object) -> float:
    # The comparison is written so that NaN is refused, too.
    if isinstance(value, bool) or not (isinstance(value, (int, float, np.number)) and 0 <= float(value) <= 1):
        raise ConfigError(f"shapes: {name} must be a number from 0 to 1, not {value!r}")
    return float(value)


def _check_size(size: object) -> tuple[int, int]:
    if not isinstance(size, (list, tuple)):
        side = _check_integer("size", size, 8, MAX_SIDE)
        return side, side
    if len(size) != 2:
        raise ConfigError(f"shapes: size must be one number or [height, width], not {size!r}")
    return _check_integer("size", size[0], 8, MAX_SIDE), _check_integer("size", size[1], 8, MAX_SIDE)


def _check_diameters(min_object: object, max_object: object, short_side: int) -> tuple[float, float]:
    """Return the minimum and maximum diameter in pixels."""
    minimum, maximum = _check_share("min_object", min_object), _check_share("max_object", max_object)
    if not 0 < minimum <= maximum:
        raise ConfigError(f"shapes: min_object {minimum} must be above 0 and at most max_object {maximum}")
    if maximum * short_side < MIN_DIAMETER:
        raise ConfigError(
            f"shapes: objects of at most {maximum * short_side:.1f} pixels are too small\n"
            f"increase size or max_object until their product is at least {MIN_DIAMETER}"
        )
    return minimum * short_side, maximum * short_side
