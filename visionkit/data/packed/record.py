"""What is stored about an image: its item in a shard, and its rows in the tables."""

import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset

from visionkit.data.datasets.base import VisionDataset
from visionkit.data.datasets.image_path import encoded_image
from visionkit.data.io.images import ImageArray
from visionkit.data.packed.layout import HAS_MASKS, HAS_SEMANTIC, HAS_TAGS, OBJECT
from visionkit.data.packed.shards import Item
from visionkit.data.packed.shrink import shrink
from visionkit.data.packed.table_checks import are_inside
from visionkit.errors import DataError
from visionkit.structures import Annotation, Rle, Sample


@dataclass
class Record:
    """An image as it is stored.

    Attributes:
        item: its files.
        objects: rows of its objects; `masks_end` counts from the image's first code.
        tags: its classes; empty if they are unknown.
        text: JSON list of id and file name.
        masks: the run-length codes of its objects in one piece.
        values: columns of its row in the table of images.
    """

    item: Item
    objects: NDArray[Any]
    tags: NDArray[np.int64]
    text: bytes
    masks: bytes
    values: dict[str, int]


class Records(Dataset[Record]):
    """The records of a dataset in a given order. Every image is decoded, so that a broken one is found here.

    Args:
        dataset: the images.
        order: int64, indices of the images.
        short_side: larger images are made smaller to this length of their shorter side, see `shrink`; None makes none.
        quality: JPEG quality of smaller images.
    """

    def __init__(self, dataset: VisionDataset, order: NDArray[np.int64], short_side: int | None, quality: int) -> None:
        self.dataset, self.order, self.short_side, self.quality = dataset, order, short_side, quality

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, position: int) -> Record:
        index = int(self.order[position])
        sample = self.dataset[index]
        small = sample if self.short_side is None else shrink(sample, self.short_side)
        if small is not sample:
            encoded = _encode(small.image, "JPEG", quality=self.quality)
        else:
            encoded = encoded_image(self.dataset, index) or _encode(small.image, "PNG")
        return make_record(small, encoded)


def make_record(sample: Sample, encoded: bytes) -> Record:
    """Return the record of a sample and its encoded image."""
    annotation = sample.annotation
    if not are_inside(annotation.boxes, np.tile(sample.size, (len(annotation), 1))):
        raise DataError(f"{sample.file_name} has a box without area, outside of the image, or with NaN")
    codes = [_counts(mask, sample) for mask in annotation.masks or []]
    semantic = b"" if sample.semantic is None else _encode(sample.semantic, "PNG")
    flags = HAS_SEMANTIC * (sample.semantic is not None) | HAS_TAGS * (sample.tags is not None)
    flags |= HAS_MASKS * (annotation.masks is not None)
    label = -1 if sample.label is None else sample.label
    height, width = sample.size
    return Record(
        item=Item(encoded, semantic),
        objects=_rows(annotation, codes),
        tags=np.zeros(0, np.int64) if sample.tags is None else sample.tags,
        text=json.dumps([sample.image_id, sample.file_name]).encode(),
        masks=b"".join(codes),
        values={"height": height, "width": width, "label": label, "flags": flags},
    )


def _rows(annotation: Annotation, codes: list[bytes]) -> NDArray[Any]:
    rows = np.zeros(len(annotation), OBJECT)
    rows["box"], rows["area"], rows["label"] = annotation.boxes, annotation.area, annotation.labels
    rows["crowd"], rows["difficult"] = annotation.crowd, annotation.difficult
    rows["masks_end"] = np.cumsum([len(code) for code in codes]) if codes else 0
    return rows


def _counts(mask: Rle, sample: Sample) -> bytes:
    """Return the compressed counts of a mask at the size of its image."""
    counts = mask["counts"]
    if isinstance(counts, list) or list(mask["size"]) != list(sample.size):
        raise DataError(f"{sample.file_name}: a mask must be a compressed run-length code of its image's size")
    return counts.encode() if isinstance(counts, str) else bytes(counts)


def _encode(array: ImageArray, format: str, **options: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, format, **options)
    return file.getvalue()
