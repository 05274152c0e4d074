"""The tables of a split: what is known about its images without reading a shard."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.run_length_check import find_invalid_codes
from visionkit.data.packed.index import PackedSplit
from visionkit.data.packed.layout import HAS_MASKS, HAS_SEMANTIC, HAS_TAGS, TABLES, table_file
from visionkit.data.packed.table_checks import check_tables
from visionkit.errors import DataError
from visionkit.structures import Annotation, Rle


class Tables:
    """The tables of a split, mapped into memory. All processes share their pages, and nothing is a Python object.

    Args:
        folder: folder of the tables.
        split: sizes of the tables.
        num_classes: number of classes, for checks.

    Raises:
        DataError: a table is missing, has another size, or has values that are not possible.
    """

    def __init__(self, folder: Path, split: PackedSplit, num_classes: int) -> None:
        self.folder, self._arguments = folder, (folder, split, num_classes)
        sizes = {name: file.bytes for name, file in split.tables.items()}
        self._map = {name: _mapped(folder / table_file(name), sizes[name], kind) for name, kind in TABLES.items()}
        self.images, self.objects = self._map["images"], self._map["objects"]
        if len(self.images) != split.images or len(self.objects) != split.objects:
            raise DataError(
                f"{folder} has tables of {len(self.images)} images and {len(self.objects)} objects, but its index "
                f"says {split.images} and {split.objects}"
            )
        check_tables(self._map, num_classes, folder)

    def __len__(self) -> int:
        return len(self.images)

    def __reduce__(self) -> tuple[type["Tables"], tuple[Path, PackedSplit, int]]:
        return Tables, self._arguments  # mapped anew: a pickled array would be a copy

    def size(self, index: int) -> tuple[int, int]:
        """Return (height, width) of an image in pixels."""
        row = self.images[index]
        return int(row["height"]), int(row["width"])

    def label(self, index: int) -> int | None:
        """Return the class of an image; None if it has no single class."""
        label = int(self.images[index]["label"])
        return None if label < 0 else label

    def crc(self, index: int) -> int:
        """Return the CRC-32 of the item of an image in its shard."""
        return int(self.images[index]["crc"])

    def has_semantic(self, index: int) -> bool:
        """Return whether an image has a semantic mask."""
        return self._has(index, HAS_SEMANTIC)

    def tags(self, index: int) -> NDArray[np.int64] | None:
        """Return the classes of an image; None if they are unknown."""
        if not self._has(index, HAS_TAGS):
            return None
        return self._map["tags"][self._part("tags", index)].astype(np.int64)

    def names(self, index: int) -> tuple[int | str, str]:
        """Return the id and the file name of an image.

        Raises:
            DataError: the table does not have them.
        """
        try:
            image_id, name = json.loads(self._map["texts"][self._part("texts", index)].tobytes())
        except (ValueError, TypeError, RecursionError) as error:
            raise DataError(f"{self.folder}: image {index} has no id and file name: {error!s:.100}") from error
        if type(image_id) not in (int, str) or not isinstance(name, str):
            raise DataError(f"{self.folder}: image {index} has an id or a file name of another type")
        return image_id, name

    def annotation(self, index: int) -> Annotation:
        """Return the objects of an image.

        Raises:
            DataError: a run-length code does not fit the image.
        """
        part = self._part("objects", index)
        rows = self.objects[part]
        annotation = Annotation(
            boxes=rows["box"].astype(np.float32),
            labels=rows["label"].astype(np.int64),
            crowd=rows["crowd"].astype(bool),
            difficult=rows["difficult"].astype(bool),
            area=rows["area"].astype(np.float32),
        )
        if self._has(index, HAS_MASKS):
            annotation.masks = self._masks(index, part)
        return annotation

    def _masks(self, index: int, part: slice) -> list[Rle]:
        size = self.size(index)
        ends = self.objects["masks_end"][part].tolist()
        starts = [int(self.objects[part.start - 1]["masks_end"]) if part.start else 0, *ends[:-1]]
        codes = [self._map["masks"][start:end].tobytes() for start, end in zip(starts, ends, strict=False)]
        if codes and find_invalid_codes(codes, np.full(len(codes), size[0] * size[1])).any():
            raise DataError(f"{self.folder}: image {index} has a run-length code that is not of its size")
        return [{"size": list(size), "counts": code} for code in codes]

    def _has(self, index: int, flag: int) -> bool:
        return bool(int(self.images[index]["flags"]) & flag)

    def _part(self, name: str, index: int) -> slice:
        """Return the rows of another table that belong to an image."""
        column = f"{name}_end"
        return slice(int(self.images[index - 1][column]) if index else 0, int(self.images[index][column]))


def _mapped(path: Path, size: int, kind: np.dtype) -> NDArray[Any]:
    """Return a table, mapped into memory."""
    if not path.is_file():
        raise DataError(f"the table {path} does not exist")
    if path.stat().st_size != size or size % kind.itemsize:
        raise DataError(f"the table {path} has {path.stat().st_size} bytes, but its index says {size}")
    return np.asarray(np.memmap(path, kind, "r")) if size else np.zeros(0, kind)


class TableWriter:
    """Collects the rows of the tables of a split, and writes them.

    Args:
        folder: folder of the tables.
    """

    def __init__(self, folder: Path) -> None:
        self._files = {name: (folder / table_file(name)).open("wb") for name in TABLES}
        self.lengths: dict[str, int] = dict.fromkeys(TABLES, 0)

    def append(self, name: str, rows: NDArray[Any]) -> int:
        """Append rows to a table, and return its new length."""
        self._files[name].write(np.ascontiguousarray(rows, TABLES[name]).tobytes())
        self.lengths[name] += len(rows)
        return self.lengths[name]

    def append_image(self, values: Mapping[str, Any], crc: int) -> None:
        """Append the row of an image, whose other parts were appended before."""
        ends = {f"{name}_end": self.lengths[name] for name in ("objects", "tags", "texts")}
        row = np.zeros(1, TABLES["images"])
        for column, value in {**values, "crc": crc, **ends}.items():
            row[column] = value
        self.append("images", row)

    def close(self) -> None:
        """Finish the files."""
        for file in self._files.values():
            file.close()
