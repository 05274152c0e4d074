"""`shapes`: pictures of simple forms, rendered from (seed, split, index) alone; the embedded data set."""

import functools
import zlib
from pathlib import Path

import numpy as np
from numpy.random import Generator
from pycocotools import mask as rle

from visionkit.data.formats.registry import formats
from visionkit.data.formats.shapes_render import FORMS, Scene, background, compose, paint, place
from visionkit.data.sample import Annotation, Sample
from visionkit.errors import DataError, RecipeError


@formats.register("shapes")
class Shapes:
    """Any number of pictures with discs, squares, triangles, stars, rings and crosses on textured grounds.

    Picture, boxes and masks depend on nothing but the arguments and the index, so every worker, process and machine
    sees the same. An object is annotated by what is visible of it; one that is hidden too far is taken out
    of the picture, so nothing visible is without annotation.

    Args:
        root: not used; there are no files.
        split: any name; splits of different names share no picture.
        count: number of pictures.
        size: height and width in pixels, or one number for both.
        seed: another seed gives another data set.
        min_object, max_object: diameter of an object over the picture's short side, drawn uniformly between them.
        max_objects: objects in a picture, drawn uniformly from 1 to this.
        empty_share: share of pictures without any object.
        texture: contrast of the ground, 0 (plain) to 1 (as strong as the objects).
        classes: must be left out or equal the six names.

    Raises:
        RecipeError: an argument is out of its range.
    """

    def __init__(
        self,
        root: Path | None = None,
        split: str = "train",
        count: int = 1000,
        size: int | list[int] = 128,
        seed: int = 0,
        min_object: float = 0.2,
        max_object: float = 0.6,
        max_objects: int = 5,
        empty_share: float = 0.05,
        texture: float = 0.5,
        classes: list[str] | None = None,
    ) -> None:
        self.class_names = list(FORMS)
        self.category_ids = list(range(1, len(FORMS) + 1))
        self.report: dict[str, int] = {}
        if classes is not None and classes != self.class_names:
            raise RecipeError(f"data.classes: shapes has the classes {self.class_names}, in this order")
        if not 0 < min_object <= max_object:
            raise RecipeError(f"shapes: min_object {min_object} must be above 0 and at most max_object {max_object}")
        height, width = (size, size) if isinstance(size, int) else size
        if count < 1 or min(height, width) < 8 or max_objects < 1:
            raise RecipeError("shapes: count and max_objects must be at least 1, size at least 8 pixels")
        self.count, self.size = count, (height, width)
        self.diameters = min_object * min(self.size), max_object * min(self.size)
        self.max_objects, self.empty_share, self.texture = max_objects, empty_share, texture
        self._key = seed, zlib.crc32(split.encode())
        self._split = split
        self._rendered = functools.lru_cache(maxsize=2)(self._render)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self.count:
            raise IndexError(index)
        picture, scene = self._rendered(index)
        semantic = np.concatenate([[0], scene.labels + 1])[scene.owner].astype(np.uint8)
        label = int(scene.labels[scene.areas().argmax()]) if len(scene.labels) else None
        name = f"shapes/{self._split}/{index}"
        return Sample(picture.copy(), index, name, _annotation(scene), semantic, label)

    def __getstate__(self) -> dict[str, object]:
        # The cache wraps a bound method and cannot travel to a spawned worker.
        return {key: value for key, value in self.__dict__.items() if key != "_rendered"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._rendered = functools.lru_cache(maxsize=2)(self._render)

    def annotation(self, index: int) -> Annotation:
        """See `VisionDataset`; renders the scene, but not its colours."""
        return _annotation(self._scene(index, self._generator(index)))

    def picture_size(self, index: int) -> tuple[int, int]:
        """(height, width) in pixels, the same for every picture."""
        return self.size

    def _generator(self, index: int) -> Generator:
        return np.random.default_rng([*self._key, index])

    def _scene(self, index: int, random: Generator) -> Scene:
        wanted = 0 if random.random() < self.empty_share else int(random.integers(1, self.max_objects + 1))
        return compose([place(random, self.size, self.diameters) for _ in range(wanted)], self.size)

    def _render(self, index: int) -> tuple[np.ndarray, Scene]:
        random = self._generator(index)
        scene = self._scene(index, random)
        return paint(random, background(random, self.size, self.texture), scene), scene


def _annotation(scene: Scene) -> Annotation:
    boxes, masks = scene.boxes(), scene.masks()
    if len(boxes) != len(scene.labels):
        raise DataError("shapes: an object without a visible pixel was left in the picture")
    none = np.zeros(len(boxes), bool)
    codes = [rle.encode(np.asfortranarray(mask)) for mask in masks]
    return Annotation(boxes, scene.labels, none, none.copy(), scene.areas().astype(np.float32), codes)
