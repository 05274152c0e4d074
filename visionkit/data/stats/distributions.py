"""Distributions of a split: image sizes, objects, classes and pixels, computed without decoding images if possible."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from visionkit.data.datasets.base import VisionDataset
from visionkit.data.stats.pixel_counts import mask_histogram
from visionkit.errors import DataError
from visionkit.ops.ignore import IGNORE

SMALL, LARGE = 32, 96
"""Sides in pixels of COCO's object sizes: the area of small objects is below 32^2, that of large ones above 96^2."""

SIZE_NAMES = ("small", "medium", "large")
CELLS = 16
"""Rows and columns of the map of box centers."""


@dataclass(frozen=True)
class Distributions:
    """Values of the images and objects of one split.

    Attributes:
        sizes: int64 [images, 2], (height, width) of the images whose size could be read.
        objects_per_image: int64 [images].
        boxes: float32 [N, 4], xyxy, of all objects, crowds included.
        labels: int64 [N].
        areas: float32 [N], see `Annotation`.
        image_index: int64 [N], row of each object's image in `sizes`.
        images_per_class: int64 [K]; an image with several classes counts for each.
        pixels: int64 [K], pixels of each class in the semantic masks; None without such masks.
        ignored_pixels: number of pixels that are ignored.
        problems: one sentence for each image whose size or mask cannot be read.
    """

    sizes: NDArray[np.int64]
    objects_per_image: NDArray[np.int64]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    areas: NDArray[np.float32]
    image_index: NDArray[np.int64]
    images_per_class: NDArray[np.int64]
    pixels: NDArray[np.int64] | None = None
    ignored_pixels: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def objects_per_class(self) -> NDArray[np.int64]:
        """Number of objects of each class, int64 [K]."""
        return np.bincount(self.labels, minlength=len(self.images_per_class))

    @property
    def objects_per_size(self) -> dict[str, int]:
        """Number of small, medium and large objects."""
        return dict(zip(SIZE_NAMES, np.bincount(size_class(self.areas), minlength=3).tolist(), strict=True))

    @property
    def ignored_share(self) -> float:
        """Share of the pixels of all masks that are ignored; 0 without masks."""
        known = 0 if self.pixels is None else int(self.pixels.sum())
        return self.ignored_pixels / max(known + self.ignored_pixels, 1)

    def center_map(self) -> NDArray[np.int64]:
        """Return the number of box centers in each cell of the images, int64 [CELLS, CELLS], the top row first."""
        centers = (self.boxes[:, :2] + self.boxes[:, 2:]) / 2 / self.sizes[self.image_index][:, ::-1]
        columns, rows = (centers * CELLS).astype(np.int64).clip(0, CELLS - 1).T
        return np.bincount(rows * CELLS + columns, minlength=CELLS**2).reshape(CELLS, CELLS)


class Histogram(NamedTuple):
    """Counts of values in the same bins for several splits.

    Attributes:
        edges: float64 [B + 1], edges of the bins. A bin contains its left edge; the last one also its right edge.
        counts: int64 [B] by split.
    """

    edges: NDArray[np.float64]
    counts: dict[str, NDArray[np.int64]]


def size_class(areas: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the index in `SIZE_NAMES` of each area."""
    return (areas >= SMALL**2).astype(np.int64) + (areas > LARGE**2)


def read_distributions(dataset: VisionDataset, description: str = "statistics") -> Distributions:
    """Read the annotations of a split, and its semantic masks if it has any.

    Args:
        dataset: the split.
        description: text of the progress bar.

    Example:
        >>> from visionkit.data.datasets.shapes import Shapes
        >>> from visionkit.data.stats.distributions import read_distributions
        >>> read_distributions(Shapes(count=3, size=64)).sizes.tolist()
        [[64, 64], [64, 64], [64, 64]]
    """
    problems: list[str] = []
    sizes, per_image, classes = [], [], np.zeros(len(dataset.class_names), np.int64)
    boxes, labels, areas = [np.zeros((0, 4), np.float32)], [np.zeros(0, np.int64)], [np.zeros(0, np.float32)]
    for index in track(range(len(dataset)), description=description, transient=True, console=Console(stderr=True)):
        try:
            sizes.append(dataset.image_size(index))
        except DataError as error:
            problems.append(str(error).splitlines()[0])
            continue
        objects = dataset.annotation(index)
        per_image.append(len(objects))
        boxes.append(objects.boxes)
        labels.append(objects.labels)
        areas.append(objects.area)
        classes[_image_classes(dataset, index)] += 1
    pixels = _sum_histograms(dataset, problems)
    return Distributions(
        sizes=np.array(sizes, np.int64).reshape(-1, 2),
        objects_per_image=np.array(per_image, np.int64),
        boxes=np.concatenate(boxes),
        labels=np.concatenate(labels),
        areas=np.concatenate(areas),
        image_index=np.repeat(np.arange(len(per_image)), per_image),
        images_per_class=classes,
        pixels=None if pixels is None else pixels[: len(classes)],
        ignored_pixels=0 if pixels is None else int(pixels[IGNORE]),
        problems=problems,
    )


def make_histogram(values: Mapping[str, NDArray[np.generic]], per_octave: int | None = None) -> Histogram:
    """Return a histogram with the same bins for all splits; its widths are round numbers.

    Args:
        values: values by split; in all splits together at least one.
        per_octave: number of bins from a value to its double, for positive values on a logarithmic axis; None for bins
            of equal width.

    Example:
        >>> import numpy as np
        >>> from visionkit.data.stats.distributions import make_histogram
        >>> make_histogram({"train": np.array([1, 2, 2]), "val": np.array([4])}).counts["train"].tolist()
        [1, 2, 0, 0]
    """
    everything = np.concatenate([*values.values()])
    edges = _linear_edges(everything) if per_octave is None else _logarithmic_edges(everything, per_octave)
    return Histogram(edges, {split: np.histogram(given, edges)[0] for split, given in values.items()})


def _image_classes(dataset: VisionDataset, index: int) -> NDArray[np.int64]:
    """Return the classes of an image: its tags, else its label."""
    tags, label = dataset.tags(index), dataset.label(index)
    if tags is not None:
        return tags
    return np.array([] if label is None else [label], np.int64)


def _linear_edges(values: NDArray[np.generic], bins: int = 24) -> NDArray[np.float64]:
    """Return edges of at most about `bins` bins, whose width is 1, 2 or 5 times a power of ten, and at least 1."""
    lowest, highest = float(values.min()), float(values.max())
    rough = max((highest - lowest) / bins, 1.0)
    power = 10.0 ** np.floor(np.log10(rough))
    step = power * next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = np.floor(lowest / step), np.floor(highest / step) + 1
    return np.arange(first, last + 1) * step


def _logarithmic_edges(values: NDArray[np.generic], per_octave: int) -> NDArray[np.float64]:
    lowest, highest = (np.log2(float(value)) * per_octave for value in (values.min(), values.max()))
    return 2 ** (np.arange(np.floor(lowest), np.floor(highest) + 2) / per_octave)


def _sum_histograms(dataset: VisionDataset, problems: list[str]) -> NDArray[np.int64] | None:
    """Return the pixel counts of all values, int64 [256]; None if no mask can be read. Faults go to `problems`."""
    masked = [index for index in range(len(dataset)) if dataset.has_semantic(index)]
    total: NDArray[np.int64] | None = None

    def read(index: int) -> NDArray[np.int64] | str:
        try:
            mask = dataset.semantic(index)
            assert mask is not None
            return mask_histogram(mask, len(dataset.class_names), f"image {dataset.image_id(index)}")
        except DataError as error:
            return str(error).splitlines()[0]

    with ThreadPoolExecutor() as pool:  # decoding releases the GIL
        for found in pool.map(read, masked):
            if isinstance(found, str):
                problems.append(found)
            else:
                total = found if total is None else total + found
    return total
