"""Writing packed datasets: shards by LitData's writer, tables, and the index."""

import json
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from torch.utils.data import DataLoader

from visionkit.data.batch import initialize_worker
from visionkit.data.datasets.base import VisionDataset
from visionkit.data.datasets.class_checks import check_same_classes
from visionkit.data.io.atomic_folder import atomic_folder
from visionkit.data.io.fetch import sha256_of
from visionkit.data.packed.index import PackedFile, PackedIndex, PackedSplit, Shard
from visionkit.data.packed.layout import INDEX, TABLES, table_file
from visionkit.data.packed.record import Record, Records
from visionkit.data.packed.remote_files import import_litdata
from visionkit.data.packed.shards import crc_of
from visionkit.data.packed.tables import TableWriter
from visionkit.errors import DataError
from visionkit.option_checks import check_at_least, check_within

MEGABYTE = 10**6
MAX_SHARD_MB = 2000
"""LitData's chunks have starts of 32 bits."""

SHUFFLED = "train"
"""Split whose images are stored in random order, so that a few shards are a fair sample of all classes."""

SEED = 0


@dataclass(frozen=True)
class PackOptions:
    """Options of packing.

    Attributes:
        shard_mb: size of a shard in megabytes, which the last item may exceed.
        short_side: larger images are stored as JPEG with this length of their shorter side, in pixels; None stores
            all files as they are.
        quality: JPEG quality of these images.
        workers: number of processes that read images.

    Raises:
        ConfigError: a number is out of its range.
    """

    shard_mb: int = 64
    short_side: int | None = None
    quality: int = 92
    workers: int = 0

    def __post_init__(self) -> None:
        check_within(1, MAX_SHARD_MB, shard_mb=self.shard_mb)
        check_at_least(1, short_side=self.short_side)
        check_within(1, 100, quality=self.quality)
        check_at_least(0, workers=self.workers)


def pack(
    datasets: Mapping[str, VisionDataset], folder: Path, options: PackOptions, card: Mapping[str, Any] | None = None
) -> PackedIndex:
    """Write datasets into shards and tables, and return the index.

    The images of `train` are stored in random order, those of other splits in the order of the dataset.

    Args:
        datasets: dataset of each split, with the same classes.
        folder: new folder, which appears when it is complete.
        options: see `PackOptions`.
        card: text files to write into the folder, by name.

    Raises:
        VisionkitError: LitData is not installed.
        DataError: a split has no images, the splits have different classes, or an image cannot be read.
        WriteError: the folder is not new, or cannot be written.
    """
    check_same_classes({split: dataset.class_names for split, dataset in datasets.items()})
    first = next(iter(datasets.values()))
    with atomic_folder(folder) as temporary:
        splits = {split: _pack_split(temporary / split, split, dataset, options) for split, dataset in datasets.items()}
        index = PackedIndex(first.class_names, first.category_ids, first.class_colors, splits)
        for name, text in {**(card or {}), INDEX: index.to_json()}.items():
            (temporary / name).write_text(text, encoding="utf-8")
    return index


def _pack_split(folder: Path, split: str, dataset: VisionDataset, options: PackOptions) -> PackedSplit:
    if not len(dataset):
        raise DataError(f"{split} has no images to pack")
    folder.mkdir()
    records = _records(split, dataset, options)
    tables, writer = TableWriter(folder), _ShardWriter(folder, options.shard_mb * MEGABYTE)
    try:
        for record in track(records, description=split, total=len(dataset), console=Console(stderr=True)):
            _append(tables, record)
            writer.append(record)
    finally:
        tables.close()
    shards = writer.finish()
    files = {name: _described(folder / table_file(name)) for name in TABLES}
    return PackedSplit(tables.lengths["objects"], files, shards)


def _records(split: str, dataset: VisionDataset, options: PackOptions) -> Iterator[Record]:
    order: NDArray[np.int64] = np.arange(len(dataset))
    if split == SHUFFLED:
        order = np.random.default_rng(SEED).permutation(order)
    records = Records(dataset, order, options.short_side, options.quality)
    yield from DataLoader(
        records, batch_size=None, num_workers=options.workers, worker_init_fn=initialize_worker, collate_fn=_same
    )


def _same(record: Any) -> Any:
    """Return the record as it is; the DataLoader would make tensors of its arrays."""
    return record


def _append(tables: TableWriter, record: Record) -> None:
    """Append the rows of an image to the tables."""
    record.objects["masks_end"] += tables.lengths["masks"]
    tables.append("masks", np.frombuffer(record.masks, np.uint8))
    tables.append("objects", record.objects)
    tables.append("tags", record.tags)
    tables.append("texts", np.frombuffer(record.text, np.uint8))
    tables.append_image(record.values, crc_of(record.item))


class _ShardWriter:
    """Writes items with LitData's writer.

    Args:
        folder: folder of the shards.
        shard_bytes: size of a shard.
    """

    def __init__(self, folder: Path, shard_bytes: int) -> None:
        litdata = import_litdata("packed datasets", "litdata.streaming.writer")
        self._folder, self._count = folder, 0
        self._writer = litdata.BinaryWriter(str(folder), chunk_bytes=shard_bytes)

    def append(self, record: Record) -> None:
        """Append an item to the current shard."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="An item was larger than the target chunk size")
            self._writer.add_item(self._count, tuple(record.item))
        self._count += 1

    def finish(self) -> list[Shard]:
        """Write the last shard and LitData's index, and return all shards."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="An item was larger than the target chunk size")
            self._writer.done()
        # LitData's own merge of indexes would wait for the other processes of a job that this one may be part of.
        (own,) = self._folder.glob("*.index.json")
        own.rename(self._folder / "index.json")
        chunks = json.loads((self._folder / "index.json").read_bytes())["chunks"]
        files = [_described(self._folder / chunk["filename"]) for chunk in chunks]
        return [
            Shard(file.file, file.bytes, file.sha256, chunk["chunk_size"])
            for file, chunk in zip(files, chunks, strict=True)
        ]


def _described(path: Path) -> PackedFile:
    return PackedFile(path.name, path.stat().st_size, sha256_of(path))
