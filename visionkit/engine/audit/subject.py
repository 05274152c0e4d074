"""What the checks of an audit read: all images of all splits, each decoded once."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path, PurePath

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from visionkit.backbones import Backbone
from visionkit.data.datamodule import VisionData
from visionkit.data.datasets.base import VisionDataset
from visionkit.data.datasets.repair_boxes import Repair, record_repairs
from visionkit.data.digest import digest_array
from visionkit.data.holdout_groups import AUTO
from visionkit.data.stats.image_descriptors import gray_thumbnail
from visionkit.data.stats.pixel_counts import mask_histogram
from visionkit.errors import DataError
from visionkit.structures import Annotation

logger = logging.getLogger("visionkit")

THREADS = 4
"""Images that are decoded at once; decoding releases the lock of the interpreter."""

MOST_IMAGES = 5000
"""Default of the largest number of images whose features are computed: a quarter of an hour on a core."""


@dataclass(frozen=True)
class AuditImage:
    """An image of a split with its annotation.

    Attributes:
        split: name of the split.
        index: index in the split.
        name: path below the data root, or the id of an image without a file.
        image_id: the dataset's own id.
        size: (height, width) in pixels; (0, 0) if it cannot be read.
        annotation: its objects.
        label: its class; None if it has no single class.
        tags: indices of its classes; None if they are unknown.
        thumbnail: uint8 [SIDE, SIDE], see `gray_thumbnail`; None if it cannot be read.
        digest: digest of the decoded pixels; empty if it cannot be read.
        pixels: int64 [256], pixels of each value of its semantic mask; None without a mask.
        mask_digest: digest of its semantic mask; empty without a mask.
        problem: why it cannot be read; empty if it can.
    """

    split: str
    index: int
    name: str
    image_id: str
    size: tuple[int, int]
    annotation: Annotation
    label: int | None
    tags: NDArray[np.int64] | None
    thumbnail: NDArray[np.uint8] | None = None
    digest: bytes = b""
    pixels: NDArray[np.int64] | None = None
    mask_digest: bytes = b""
    problem: str = ""


@dataclass(frozen=True)
class QuickModelOptions:
    """The network whose features the quick models of the audit use.

    Attributes:
        backbone: backbone with pretrained weights; None if there are none at hand.
        folder: folder of the cached features; None caches nothing.
        most_images: largest number of images whose features are computed; of more images, evenly spaced ones are taken.
        missing: why there is no backbone, and what to do.
    """

    backbone: Backbone | None = None
    folder: Path | None = None
    most_images: int = MOST_IMAGES
    missing: str = "no backbone with pretrained weights was given"


@dataclass
class AuditSubject:
    """A dataset that is audited.

    Attributes:
        datasets: dataset of each split.
        images: all images, split by split.
        class_names: K names in label order.
        repairs: boxes that were clipped or dropped when the dataset was opened, by split.
        group_rule: which images belong together, see `find_groups`.
        quick: options of the quick models.
        anchors: width and height [A, 2] of the anchors of a detector, and width and height [N, 2] of the training
            objects, both in pixels of its input; None without a detector.
    """

    datasets: dict[str, VisionDataset]
    images: list[AuditImage]
    class_names: list[str]
    repairs: dict[str, list[Repair]] = field(default_factory=dict)
    group_rule: str = AUTO
    quick: QuickModelOptions = field(default_factory=QuickModelOptions)
    anchors: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None

    @property
    def has_objects(self) -> bool:
        """Whether any image has objects."""
        return any(len(image.annotation) for image in self.images)

    def of_split(self, split: str) -> list[AuditImage]:
        """Return the images of a split."""
        return [image for image in self.images if image.split == split]

    def readable(self) -> list[AuditImage]:
        """Return the images that can be read."""
        return [image for image in self.images if not image.problem]


def read_subject(data: VisionData, splits: Sequence[str] | None = None) -> AuditSubject:
    """Read all images of a dataset once.

    Args:
        data: the dataset.
        splits: splits to read; None reads all.

    Example:
        >>> import visionkit as vk
        >>> from visionkit.engine.audit.subject import read_subject
        >>> data = vk.VisionData("shapes", splits={"train": {"count": 4, "size": 64}}, num_workers=0)
        >>> [image.name for image in read_subject(data).images]
        ['0', '1', '2', '3']
    """
    names = [*data.splits] if splits is None else [*splits]
    datasets, repairs = {}, {}
    for name in names:
        with record_repairs() as found:
            datasets[name] = data.dataset(name)
        repairs[name] = found
    images = [image for name, dataset in datasets.items() for image in _read_split(data, name, dataset)]
    rule = data.splits.holdout.groups if data.splits.holdout is not None else AUTO
    return AuditSubject(datasets, images, data.class_names, repairs, rule)


def _read_split(data: VisionData, split: str, dataset: VisionDataset) -> Iterator[AuditImage]:
    def read(index: int) -> AuditImage:
        return _read_image(split, dataset, index, data.splits.image_name(dataset, index))

    console = Console(stderr=True)
    with ThreadPoolExecutor(THREADS) as pool:
        found = pool.map(read, range(len(dataset)))
        yield from track(found, f"{split}: images", len(dataset), transient=True, console=console)


def _read_image(split: str, dataset: VisionDataset, index: int, name: str) -> AuditImage:
    annotation, label, tags = dataset.annotation(index), dataset.label(index), dataset.tags(index)
    image_id = str(dataset.image_id(index))
    try:
        sample = dataset[index]
        pixels = None
        if sample.semantic is not None:
            pixels = mask_histogram(sample.semantic, len(dataset.class_names), sample.file_name)
    except DataError as error:
        reason = str(error).splitlines()[0]
        return AuditImage(split, index, name, image_id, (0, 0), annotation, label, tags, problem=reason)
    return AuditImage(
        split, index, name, image_id, sample.size, annotation, label, tags,
        thumbnail=gray_thumbnail(sample.image),
        digest=digest_array(sample.image),
        pixels=pixels,
        mask_digest=b"" if sample.semantic is None else digest_array(sample.semantic),
    )  # fmt: skip


def find_image(images: Sequence[AuditImage], split: str, name: str) -> AuditImage | None:
    """Return the image that a message about a split calls `name`: its id, path, file, or the stem of its file."""
    by_name = _names(images)
    return by_name.get((split, name)) or by_name.get(("", name))


def _names(images: Sequence[AuditImage]) -> Mapping[tuple[str, str], AuditImage]:
    found: dict[tuple[str, str], AuditImage] = {}
    for image in images:
        path = PurePath(image.name)
        for name in (image.image_id, image.name, path.name, path.stem):
            found.setdefault((image.split, name), image)
            found.setdefault(("", name), image)
    return found
