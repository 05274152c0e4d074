"""The contract of every dataset, and the registry of data formats."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.recognition import Recognizer
from visionkit.registry import Registry
from visionkit.structures import Annotation, Color, Sample

RequiredAnnotation = Literal["label", "tags", "semantic", "masks"]
"""Annotation that a task needs of every image: one class, a list of any number of classes, a semantic mask, or a mask
of each object."""


AnnotationKind = Literal["boxes", "label", "tags", "semantic"]
"""Kind of annotation that a format can have: boxes of objects, one class per image, all classes of an image, or a
semantic mask. The command line reads the kinds of a format, `annotation_kinds`, from its source."""


@runtime_checkable
class VisionDataset(Protocol):
    """A map-style dataset of `Sample`s whose annotations can be read without decoding the images.

    Every format in `visionkit/data/datasets/` is such a class. A class need not inherit from this one; it must have
    all attributes and methods.

    Attributes:
        class_names: K names, in label order.
        category_ids: the dataset's own id of each class, K of them, in label order (COCO's ids have gaps).
        report: what was repaired or skipped while reading, by reason ("boxes without area dropped": 2).
        class_colors: RGB colors in which masks of the K classes are drawn; None if the dataset defines none.

    Example:
        >>> import visionkit as vk
        >>> from visionkit.data.datasets.shapes import Shapes
        >>> dataset: vk.VisionDataset = Shapes(count=10, size=64)
        >>> len(dataset), dataset.image_id(3), dataset.image_size(3), dataset.has_semantic(3)
        (10, 3, (64, 64), False)
        >>> dataset.class_names[dataset.label(3)]
        'disc'
    """

    class_names: list[str]
    category_ids: list[int]
    report: dict[str, int]
    class_colors: list[Color] | None

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...

    def image_id(self, index: int) -> int | str:
        """Return the dataset's own id of the image."""
        ...

    def annotation(self, index: int) -> Annotation:
        """Return the objects of the image, in its pixels; an empty annotation if the dataset has no objects."""
        ...

    def image_size(self, index: int) -> tuple[int, int]:
        """Return (height, width) of the image in pixels, after EXIF rotation."""
        ...

    def label(self, index: int) -> int | None:
        """Return the class of the image, 0..K-1; None if it has no single class."""
        ...

    def tags(self, index: int) -> NDArray[np.int64] | None:
        """Return the indices of all classes in the image, ascending; None if they are unknown."""
        ...

    def has_semantic(self, index: int) -> bool:
        """Return whether the image has a semantic mask, without reading the mask."""
        ...

    def semantic(self, index: int) -> NDArray[np.uint8] | None:
        """Return the semantic mask, uint8 [H, W] with 255 = ignore; None if the image has none."""
        ...


class NoSemanticMasks:
    """Mixin of datasets without semantic masks."""

    class_colors: list[Color] | None = None

    def has_semantic(self, index: int) -> bool:
        """Return False."""
        return False

    def semantic(self, index: int) -> NDArray[np.uint8] | None:
        """Return None."""
        return None


class FormatRegistry(Registry[type[VisionDataset]]):
    """Registry of dataset classes by format name, and of the options with which they read certain annotations."""

    def __init__(self, kind: str, package: str | None = None) -> None:
        super().__init__(kind, package)
        self._options_for: dict[str, Mapping[RequiredAnnotation, Mapping[str, Any]]] = {}
        self._recognizers: dict[str, Recognizer] = {}
        self._streamed: set[str] = set()

    def register(
        self,
        *names: str,
        options_for: Mapping[RequiredAnnotation, Mapping[str, Any]] | None = None,
        recognize: Recognizer | None = None,
        streamed: bool = False,
    ) -> Callable[[type[VisionDataset]], type[VisionDataset]]:
        """Return a decorator that registers a dataset class under each of `names`.

        Args:
            names: names of the format.
            options_for: for each annotation that the class reads only with certain options, these options. They are
                used in all splits if a task needs the annotation.
            recognize: returns the splits of a folder in this format; None if such folders need a data card.
            streamed: whether the class takes an URL as `root`, and the option `stream`.

        Raises:
            ConfigError: another class is registered under the name.
        """
        enter = super().register(*names)

        def enter_with_options(entry: type[VisionDataset]) -> type[VisionDataset]:
            entered = enter(entry)
            self._options_for.update(dict.fromkeys(names, options_for or {}))
            if recognize is not None:
                self._recognizers[names[0]] = recognize
            if streamed:
                self._streamed.update(names)
            return entered

        return enter_with_options

    def options_for(self, name: str, required: RequiredAnnotation | None) -> Mapping[str, Any]:
        """Return the options with which the format `name` reads an annotation; empty if it needs none.

        Raises:
            ConfigError: the format is unknown.
        """
        self.get(name)  # imports the module that registers it
        return {} if required is None else self._options_for[name].get(required, {})

    def is_streamed(self, name: str) -> bool:
        """Return whether the format `name` takes an URL as `root`, and the option `stream`.

        Raises:
            ConfigError: the format is unknown.
        """
        self.get(name)  # imports the module that registers it
        return name in self._streamed

    @property
    def recognizers(self) -> dict[str, Recognizer]:
        """The functions that recognize folders, by format, those of plugins included."""
        return {name: self._recognizers[name] for name in self if name in self._recognizers}


formats = FormatRegistry("data format", "visionkit.data.datasets")
"""Dataset classes by format name, called as `cls(root=..., **split_options)`, with `classes` if the card lists them."""

register_format = formats.register
