"""`shapes`: images of simple forms, rendered from (seed, split, index) alone; the embedded data set."""

import functools
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from pycocotools import mask as rle

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.segmentation import BACKGROUND
from visionkit.data.datasets.shapes_render import FORMS, Scene, background, compose, paint, place
from visionkit.errors import ConfigError
from visionkit.structures import Annotation, Color, Sample

LEAST_DIAMETER = 12
"""Pixels across that the largest object must have; below this hardly any object is large enough to be kept."""


@formats.register("shapes")
class Shapes:
    """Any number of images with discs, squares, triangles, stars, rings and crosses on textured grounds.

    Image, boxes and masks depend on nothing but the arguments and the index, so every worker and process sees the
    same. Another build of OpenCV may round about one color value in a million the other way, by one gray level. An
    object is annotated by what is visible of it; one that is hidden or cut too far is taken out of the image, so
    nothing visible is without annotation. Where objects come down to some ten pixels across this takes out many, and
    more images than `empty_share` are empty.

    A sample's `label` is the class of the object of which most pixels are visible, None in an empty image.

    Args:
        root: not used; there are no files.
        split: any name; splits of different names share no image.
        count: number of images; the first ones stay the same whatever it is.
        size: height and width in pixels, or one number for both.
        seed: another seed gives another data set; 0 or more.
        min_object, max_object: diameter of an object over the image's short side, drawn uniformly between them.
        max_objects: objects in an image, drawn uniformly from 1 to this.
        empty_share: share of images without any object, 0 to 1.
        texture: contrast of the ground, 0 (plain) to 1 (as strong as the objects).
        semantic: whether samples have a mask of classes; class 0 is then `background`, and the six names follow.
        classes: must be left out or equal the class names.

    Raises:
        ConfigError: an argument is of the wrong type or out of its range.
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
        self._first = int(semantic)
        self.class_names = [*([BACKGROUND] if semantic else []), *FORMS]
        self.category_ids = [*([0] if semantic else []), *range(1, len(FORMS) + 1)]
        self.class_colors: list[Color] | None = None
        self.report: dict[str, int] = {}
        if classes is not None and classes != self.class_names:
            raise ConfigError(f"data.classes: shapes has the classes {self.class_names}, in this order")
        if not isinstance(split, str):
            raise ConfigError(f"shapes: split must be a name, not {split!r}; quote it if it is made of digits")
        self.count, self.size = _whole("count", count, least=1), _height_and_width(size)
        self.max_objects = _whole("max_objects", max_objects, least=1)
        self.empty_share, self.texture = _share("empty_share", empty_share), _share("texture", texture)
        self.diameters = _diameters(min_object, max_object, min(self.size))
        self._key = _whole("seed", seed, least=0), zlib.crc32(split.encode())
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
        # The cache wraps a bound method and cannot travel to a spawned worker.
        return {key: value for key, value in self.__dict__.items() if key != "_rendered"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._rendered = functools.lru_cache(maxsize=2)(self._render)

    def image_id(self, index: int) -> int:
        """The index."""
        return index

    def annotation(self, index: int) -> Annotation:
        """See `VisionDataset`; renders the scene, but not its colors."""
        return self._annotation(self._scene(index, self._generator(index)))

    def label(self, index: int) -> int | None:
        """See `VisionDataset`."""
        return self._label(self._scene(index, self._generator(index)))

    def tags(self, index: int) -> NDArray[np.int64]:
        """See `VisionDataset`."""
        return self._tags(self._scene(index, self._generator(index)))

    def has_semantic(self, index: int) -> bool:
        """The same for every image."""
        return bool(self._first)

    def semantic(self, index: int) -> NDArray[np.uint8] | None:
        """See `VisionDataset`."""
        return self._semantic(self._scene(index, self._generator(index)))

    def image_size(self, index: int) -> tuple[int, int]:
        """(height, width) in pixels, the same for every image."""
        return self.size

    def _generator(self, index: int) -> Generator:
        if not 0 <= index < self.count:
            raise IndexError(f"shapes: image {index} of {self.count}")
        return np.random.default_rng([*self._key, index])

    def _scene(self, index: int, random: Generator) -> Scene:
        wanted = 0 if random.random() < self.empty_share else int(random.integers(1, self.max_objects + 1))
        return compose([place(random, self.size, self.diameters) for _ in range(wanted)], self.size)

    def _render(self, index: int) -> tuple[np.ndarray, Scene]:
        random = self._generator(index)
        scene = self._scene(index, random)
        return paint(random, background(random, self.size, self.texture), scene), scene

    def _label(self, scene: Scene) -> int | None:
        """Class of the object of which most pixels are visible."""
        return int(self._labels(scene)[scene.areas().argmax()]) if len(scene.objects) else None

    def _tags(self, scene: Scene) -> NDArray[np.int64]:
        return np.unique(self._labels(scene)).astype(np.int64)

    def _annotation(self, scene: Scene) -> Annotation:
        boxes, masks = scene.boxes(), scene.masks()
        none = np.zeros(len(boxes), bool)
        codes = [rle.encode(np.asfortranarray(mask)) for mask in masks]
        return Annotation(boxes, self._labels(scene), none, none.copy(), scene.areas().astype(np.float32), codes)

    def _semantic(self, scene: Scene) -> NDArray[np.uint8] | None:
        """Class of what is seen at each pixel; None where they have none."""
        return np.concatenate([[0], self._labels(scene)])[scene.owner].astype(np.uint8) if self._first else None

    def _labels(self, scene: Scene) -> NDArray[np.int64]:
        """Class of each object; `background` comes before them where there are masks."""
        return scene.labels + self._first


def _whole(name: str, value: object, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ConfigError(f"shapes: {name} must be a whole number of at least {least}, not {value!r}")
    return int(value)


def _share(name: str, value: object) -> float:
    # Written so that NaN, which is neither below nor above anything, is refused too.
    if isinstance(value, bool) or not (isinstance(value, (int, float, np.number)) and 0 <= float(value) <= 1):
        raise ConfigError(f"shapes: {name} must be a number from 0 to 1, not {value!r}")
    return float(value)


def _height_and_width(size: object) -> tuple[int, int]:
    if not isinstance(size, (list, tuple)):
        side = _whole("size", size, least=8)
        return side, side
    if len(size) != 2:
        raise ConfigError(f"shapes: size must be one number or [height, width], not {size!r}")
    return _whole("size", size[0], least=8), _whole("size", size[1], least=8)


def _diameters(min_object: object, max_object: object, short_side: int) -> tuple[float, float]:
    """Least and greatest diameter in pixels."""
    least, greatest = _share("min_object", min_object), _share("max_object", max_object)
    if not 0 < least <= greatest:
        raise ConfigError(f"shapes: min_object {least} must be above 0 and at most max_object {greatest}")
    if greatest * short_side < LEAST_DIAMETER:
        raise ConfigError(
            f"shapes: objects of at most {greatest * short_side:.1f} pixels are too small to tell apart;\n"
            f"  raise size or max_object until their product is at least {LEAST_DIAMETER}"
        )
    return least * short_side, greatest * short_side
