"""Facts of a training split that decide how to train on it: its task, its sizes and its classes."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import VisionDataset
from visionkit.data.datasets.subset import SubsetDataset
from visionkit.data.splits import Splits, read_labels
from visionkit.data.stats.distributions import Distributions, read_distributions
from visionkit.errors import DataError
from visionkit.ops.ignore import IGNORE

MOST_IMAGES = 1000
"""Largest number of images whose annotations are read."""

MEASURED_MASKS = 24
"""Number of masks in which the thickness of regions is measured."""

REAL_MASKS = 0.5
"""Share of the objects whose masks must differ from their boxes; other masks were made of boxes."""

FULL_BOX = 0.95
"""Share of a box from which a mask counts as the box itself."""


@dataclass(frozen=True)
class CardFacts:
    """Facts of a training split.

    Attributes:
        task: classification, detection or segmentation.
        images: number of training images.
        validation_images: number of validation images.
        class_names: K names in label order.
        examples: int64 [K], number of images (classification), objects (detection) or pixels (segmentation) of each
            class in the images that were read.
        median_size: median height and median width of the images in pixels.
        has_masks: whether the objects have masks.
        multi_label: whether an image can have several classes.
        shapes: float64 [N, 2], width and height of the objects, as shares of the short side of their image.
        thinnest: thickness in pixels of the regions of the thinnest class in the masks, see `mask_thickness`; infinite
            without masks.

    Example:
        >>> import numpy as np
        >>> from visionkit.data.stats.card_facts import CardFacts
        >>> facts = CardFacts("classification", 90, 30, ["cat", "dog"], np.array([80, 10]), (480, 640))
        >>> facts.short_side
        480
    """

    task: str
    images: int
    validation_images: int
    class_names: list[str]
    examples: NDArray[np.int64]
    median_size: tuple[int, int]
    has_masks: bool = False
    multi_label: bool = False
    shapes: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 2)))
    thinnest: float = math.inf

    @property
    def short_side(self) -> int:
        """Median length of the shorter side in pixels."""
        return min(self.median_size)


def read_card_facts(splits: Splits, masked: Splits | None = None, task: str | None = None) -> CardFacts:
    """Read the facts of the training split, from the annotations of at most `MOST_IMAGES` images.

    Args:
        splits: the splits of the card.
        masked: the same splits, opened with the masks of the objects; None if the format has none.
        task: task for which the card is used; None takes that of its annotations, see `task_of`.

    Raises:
        DataError: there are no images.

    Example:
        >>> import visionkit as vk
        >>> from visionkit.data.stats.card_facts import read_card_facts
        >>> data = vk.VisionData("shapes", splits={"train": {"count": 8, "size": 64}})
        >>> facts = read_card_facts(data.splits)
        >>> facts.task, facts.images, facts.short_side
        ('detection', 8, 64)
    """
    train = splits.dataset("train")
    if not len(train):
        raise DataError("the training split has no images")
    task = task or task_of(train)
    read = _sample(train)
    found = read_distributions(read, "facts of train")
    if not len(found.sizes):
        raise DataError(f"no image of the training split can be read: {found.problems[0]}")
    height, width = np.median(found.sizes, axis=0).astype(int).tolist()
    return CardFacts(
        task=task,
        images=len(train),
        validation_images=len(splits.dataset("val")) if "val" in splits else 0,
        class_names=list(train.class_names),
        examples=_examples(read, found, task),
        median_size=(height, width),
        has_masks=masked is not None and _has_real_masks(_sample(masked.dataset("train"))),
        multi_label=task == "classification" and _is_multi_label(read),
        shapes=_relative_shapes(found),
        thinnest=_thinnest(train) if task == "segmentation" else math.inf,
    )


def mask_thickness(masks: Iterable[NDArray[np.uint8]], classes: int) -> NDArray[np.float64]:
    """Return the mean thickness in pixels of the regions of each class: twice their area, divided by their perimeter.

    A long strip has its width, and a disc half its diameter, less a fifth for its stairs. Classes without pixels or
    without a border are infinitely thick.

    Args:
        masks: semantic masks, uint8 [H, W], 255 = ignore.
        classes: number of classes K.

    Returns:
        float64 [K].

    Example:
        >>> import numpy as np
        >>> from visionkit.data.stats.card_facts import mask_thickness
        >>> mask = np.zeros((100, 100), np.uint8)
        >>> mask[:, 20:26] = 1
        >>> mask_thickness([mask], 2).tolist()
        [94.0, 6.0]
    """
    areas, borders = np.zeros(256), np.zeros(256)
    for mask in masks:
        areas += np.bincount(mask.ravel(), minlength=256)
        for one, other in ((mask[1:], mask[:-1]), (mask[:, 1:], mask[:, :-1])):
            differs = (one != other) & (one != IGNORE) & (other != IGNORE)
            for side in (one, other):
                borders += np.bincount(side[differs], minlength=256)
    with np.errstate(divide="ignore", invalid="ignore"):
        thickness = 2 * areas[:classes] / borders[:classes]
    return np.where(np.isfinite(thickness), thickness, np.inf)


def _thinnest(dataset: VisionDataset) -> float:
    """Return the thickness of the thinnest class in a few masks."""
    few = np.linspace(0, len(dataset) - 1, min(len(dataset), MEASURED_MASKS)).astype(int).tolist()
    masks = (dataset.semantic(index) for index in few if dataset.has_semantic(index))
    return float(mask_thickness((mask for mask in masks if mask is not None), len(dataset.class_names)).min())


def task_of(dataset: VisionDataset) -> str:
    """Return the task that a training set is annotated for, by its objects, class masks or image classes."""
    if any(len(dataset.annotation(index)) for index in range(len(dataset))):
        return "detection"
    return "segmentation" if any(map(dataset.has_semantic, range(len(dataset)))) else "classification"


def _sample(dataset: VisionDataset) -> VisionDataset:
    """Return at most `MOST_IMAGES` images at equal intervals."""
    if len(dataset) <= MOST_IMAGES:
        return dataset
    return SubsetDataset(dataset, np.linspace(0, len(dataset) - 1, MOST_IMAGES).astype(np.int64))


def _examples(dataset: VisionDataset, found: Distributions, task: str) -> NDArray[np.int64]:
    if task == "detection":
        return found.objects_per_class
    if task == "segmentation" and found.pixels is not None:
        return found.pixels
    if _is_multi_label(dataset):
        return found.images_per_class
    labels = read_labels(dataset)
    return np.bincount(labels[labels >= 0], minlength=len(dataset.class_names))


def _relative_shapes(found: Distributions) -> NDArray[np.float64]:
    sides = (found.boxes[:, 2:] - found.boxes[:, :2]).astype(np.float64)
    return sides / found.sizes.min(axis=1)[found.image_index][:, None]


def _is_multi_label(dataset: VisionDataset) -> bool:
    """Return whether an image has no single class, but a list of classes."""
    return any(dataset.label(index) is None and dataset.tags(index) is not None for index in range(len(dataset)))


def _has_real_masks(dataset: VisionDataset) -> bool:
    """Return whether most objects have a mask that is not just their box."""
    own, all_ = 0, 0
    for index in range(len(dataset)):
        annotation = dataset.annotation(index)
        if annotation.masks is not None:
            boxes = np.prod(annotation.boxes[:, 2:] - annotation.boxes[:, :2], axis=1)
            own += int((annotation.area < FULL_BOX * boxes).sum())
            all_ += len(annotation)
    return own > REAL_MASKS * all_
