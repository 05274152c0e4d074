"""Names and data types of the files of a packed dataset.

    packed.json                 classes, and the files of each split with their sizes and SHA-256 digests
    train/index.json            LitData's index of the shards, for its own tools; not read here
    train/chunk-0-0.bin         a shard: LitData's chunk of items (image file, mask file)
    train/images.table          one row per image, `IMAGE`
    train/objects.table         one row per object, `OBJECT`, sorted by image
    train/tags.table            classes of images that have a list of them, int32
    train/texts.table           JSON list of id and file name of each image, in UTF-8
    train/masks.table           compressed run-length codes of the objects

The tables are raw arrays in little-endian byte order, which are mapped into memory and so shared by all processes.
Parts of varying length are stored without gaps; a row has the end of its part. No file holds Python objects.
"""

from collections.abc import Mapping

import numpy as np

INDEX = "packed.json"
FORMAT = "visionkit packed"
VERSION = 1

HAS_SEMANTIC, HAS_TAGS, HAS_MASKS = 1, 2, 4
"""Bits of `flags`."""

IMAGE = np.dtype(
    [
        ("height", "<i4"),
        ("width", "<i4"),
        ("label", "<i4"),  # -1: no single class
        ("crc", "<u4"),  # CRC-32 of the item in its shard
        ("flags", "<u4"),
        ("objects_end", "<i8"),
        ("tags_end", "<i8"),
        ("texts_end", "<i8"),
    ]
)

OBJECT = np.dtype(
    [
        ("box", "<f4", (4,)),
        ("area", "<f4"),
        ("label", "<i4"),
        ("crowd", "?"),
        ("difficult", "?"),
        ("masks_end", "<i8"),
    ]
)

TABLES: Mapping[str, np.dtype] = {
    "images": IMAGE,
    "objects": OBJECT,
    "tags": np.dtype("<i4"),
    "texts": np.dtype("u1"),
    "masks": np.dtype("u1"),
}
"""Data type of each table."""


def table_file(name: str) -> str:
    """Return the file name of a table."""
    return f"{name}.table"
