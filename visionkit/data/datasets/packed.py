"""The `packed` format: shards of encoded images, which `visionkit data pack` writes, in a folder or at an URL."""

import json
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.class_checks import check_requested_classes
from visionkit.data.datasets.image_reader import ImageReader
from visionkit.data.datasets.recognition import FolderListing, Recognized, in_order
from visionkit.data.datasets.sharded import ShardedDataset
from visionkit.data.io.image_files import open_encoded
from visionkit.data.io.images import decode_image
from visionkit.data.packed.layout import FORMAT, INDEX
from visionkit.data.packed.shards import Item, ShardFiles
from visionkit.data.packed.source import open_source
from visionkit.data.packed.stream_options import StreamOptions
from visionkit.data.packed.tables import Tables
from visionkit.errors import DataError
from visionkit.ops.ignore import IGNORE
from visionkit.registry import suggest
from visionkit.structures import Annotation, Color, Sample


def recognize_packed(listing: FolderListing) -> Recognized | None:
    """Return the splits of the index of a packed dataset."""
    if INDEX not in listing:
        return None
    try:
        content = json.loads((listing.folder / INDEX).read_bytes())
        if content["format"] != FORMAT:
            return None
        return Recognized(in_order({split: {"split": split} for split in content["splits"]}))
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None


@formats.register("packed", recognize=recognize_packed, streamed=True)
class Packed(ImageReader, ShardedDataset):
    """Images in shards, with all kinds of annotation in tables that are mapped into memory.

    Args:
        root: folder of the dataset, or its URL: http, https, s3 or gs.
        split: name of the split.
        classes: must be the class names of the dataset, if it is given.
        stream: order and cache.

    Raises:
        DataError: files are missing, damaged, or of a newer version.
        ConfigError: the URL has another scheme, or the cache is too small.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from visionkit.data.datasets.packed import Packed
        >>> from visionkit.data.datasets.shapes import Shapes
        >>> from visionkit.data.packed.writer import PackOptions, pack
        >>> folder = Path(tempfile.mkdtemp()) / "packed"
        >>> _ = pack({"val": Shapes(count=3, size=64)}, folder, PackOptions())  # needs the extra "stream"
        >>> dataset = Packed(folder, "val")
        >>> len(dataset), dataset[2].size
        (3, (64, 64))
    """

    def __init__(
        self,
        root: Path | str | None,
        split: str,
        classes: list[str] | None = None,
        stream: StreamOptions | None = None,
    ) -> None:
        source = open_source(root, stream or StreamOptions())
        index = source.index()
        if split not in index.splits:
            known = ", ".join(index.splits)
            raise DataError(f"{root} has no split {split!r}{suggest(split, index.splits)}; it has {known}")
        self._split, content = split, index.splits[split]
        self.class_names = check_requested_classes(index.class_names, classes, root)
        self.category_ids: list[int] = index.category_ids
        self.class_colors: list[Color] | None = index.class_colors
        self.report: dict[str, int] = {}
        self._source, self._shards = source, content.shards
        self._first = np.cumsum([0, *(shard.images for shard in content.shards)])
        self._tables = Tables(source.tables(split, content), content, len(index.class_names))
        self._files = ShardFiles(partial(source.shard, split))

    def __len__(self) -> int:
        return len(self._tables)

    def __getitem__(self, index: int) -> Sample:
        image_id, name = self._tables.names(index)
        item, stated = self._item(index), self.image_size(index)
        image = decode_image(item.image, name, self.bit_depth)
        if image.shape[:2] != stated:
            raise DataError(f"{name} has {image.shape[0]} x {image.shape[1]} pixels, but its table says {stated}")
        return Sample(
            image,
            image_id,
            name,
            self.annotation(index),
            semantic=self._mask(item, index),
            label=self.label(index),
            tags=self.tags(index),
        )

    def shards(self) -> NDArray[np.int64]:
        """See `ShardedDataset`."""
        return np.repeat(np.arange(len(self._shards)), np.diff(self._first))

    def prefetch(self, index: int) -> None:
        """See `ShardedDataset`."""
        self._source.prefetch(self._split, self._shards[self._shard(index)])

    def encoded(self, index: int) -> bytes:
        """See `ImageReader`."""
        return self._item(index).image

    def image_id(self, index: int) -> int | str:
        """See `VisionDataset`."""
        return self._tables.names(index)[0]

    def annotation(self, index: int) -> Annotation:
        """See `VisionDataset`."""
        return self._tables.annotation(index)

    def image_size(self, index: int) -> tuple[int, int]:
        """See `VisionDataset`."""
        return self._tables.size(index)

    def label(self, index: int) -> int | None:
        """See `VisionDataset`."""
        return self._tables.label(index)

    def tags(self, index: int) -> NDArray[np.int64] | None:
        """See `VisionDataset`."""
        return self._tables.tags(index)

    def has_semantic(self, index: int) -> bool:
        """See `VisionDataset`."""
        return self._tables.has_semantic(index)

    def semantic(self, index: int) -> NDArray[np.uint8] | None:
        """See `VisionDataset`."""
        return self._mask(self._item(index), index) if self.has_semantic(index) else None

    def _shard(self, index: int) -> int:
        return int(np.searchsorted(self._first, index, side="right")) - 1

    def _item(self, index: int) -> Item:
        shard = self._shard(index)
        return self._files.read(self._shards[shard], index - int(self._first[shard]), self._tables.crc(index))

    def _mask(self, item: Item, index: int) -> NDArray[np.uint8] | None:
        if not self.has_semantic(index):
            return None
        name, stated = self._tables.names(index)[1], self.image_size(index)
        with open_encoded(item.semantic, f"mask of {name}") as opened:
            mask = np.array(opened)
        if mask.dtype != np.uint8 or mask.shape != stated:
            raise DataError(f"the mask of {name} is {mask.dtype} {list(mask.shape)}, but its table says {stated}")
        if ((mask >= len(self.class_names)) & (mask != IGNORE)).any():
            raise DataError(f"the mask of {name} has values that are no class")
        return mask
