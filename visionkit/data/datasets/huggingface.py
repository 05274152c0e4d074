"""The `huggingface` format: datasets of the Hugging Face Hub on disk, as Parquet files or saved by `save_to_disk`."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.arrow_files import ArrowImages, ArrowTable, read_arrow_files, stored_names
from visionkit.data.datasets.base import VisionDataset, formats
from visionkit.data.datasets.base_classification import ClassificationDataset
from visionkit.data.datasets.class_checks import check_at_least_two_classes, check_requested_classes
from visionkit.data.datasets.delegating import DelegatingDataset
from visionkit.data.datasets.found_objects import FoundImages, FoundObject, FoundObjectsDataset
from visionkit.data.datasets.image_reader import ImageReader
from visionkit.data.datasets.json_entries import JsonEntries
from visionkit.data.datasets.recognition import FolderListing, Recognized, one_per_split, parent_of
from visionkit.data.datasets.repair_boxes import BadBoxPolicy
from visionkit.data.io.images import ImageArray, decode_image, encoded_size
from visionkit.data.io.json_files import garbage_collection_paused
from visionkit.data.io.paths import require_folder
from visionkit.errors import DataError
from visionkit.text import format_list, shorten

BoxFormat = Literal["xywh", "xyxy"]
"""Corner and size, as in COCO, or two corners."""

OBJECTS = "objects"
"""Column of the objects: `bbox` and `category` of each."""


def recognize_huggingface(listing: FolderListing) -> Recognized | None:
    """Return the Parquet files, or the folders of `save_to_disk`, one for each split."""
    folders = sorted({parent_of(name) for name in listing.with_suffix(".arrow")})
    return one_per_split(
        listing, [*folders, *listing.with_suffix(".parquet")], lambda name: {"path": name}, needs_images=False
    )


@formats.register("huggingface", recognize=recognize_huggingface)
class HuggingFace(ImageReader, DelegatingDataset):
    """Images of a table with the objects of the column `objects`, or else with one class each.

    `objects` has the boxes `bbox` and the classes `category`, which are indices, or names. Only pyarrow reads the
    files, so that no loading script runs and no network connection is opened. It is in the extra `hf`.

    Args:
        root: folder of the dataset.
        path: a Parquet file, several (`data/train-*.parquet`), or a folder of `save_to_disk`, relative to `root`.
        image_column: column of the images, which holds the content of image files, or paths inside `root`.
        label_column: column of the classes, if there is no column `objects`.
        box_format: corner and size (xywh), or two corners (xyxy), in pixels.
        classes: of objects, the names of the classes to keep. They are the names in label order where the files have
            none.
        on_bad_box: drop boxes without area, or raise; see `repair_boxes`.

    Raises:
        VisionkitError: pyarrow is not installed.
        DataError: files are missing or damaged, or a box or class is not usable.

    Example:
        >>> import io, tempfile
        >>> from pathlib import Path
        >>> import pyarrow, pyarrow.parquet
        >>> from PIL import Image
        >>> from visionkit.data.datasets.huggingface import HuggingFace
        >>> folder, encoded = Path(tempfile.mkdtemp()), io.BytesIO()
        >>> Image.new("RGB", (64, 48)).save(encoded, "PNG")
        >>> image, objects = {"bytes": encoded.getvalue()}, {"bbox": [[8, 4, 20, 10]], "category": ["cat"]}
        >>> table = pyarrow.table({"image": [image], "objects": [objects]})
        >>> pyarrow.parquet.write_table(table, folder / "train.parquet")
        >>> HuggingFace(folder, "train.parquet")[0].annotation.boxes
        array([[ 8.,  4., 28., 14.]], dtype=float32)
    """

    @garbage_collection_paused()
    def __init__(
        self,
        root: Path | None,
        path: str,
        image_column: str = "image",
        label_column: str = "label",
        box_format: BoxFormat = "xywh",
        classes: list[str] | None = None,
        on_bad_box: BadBoxPolicy = "drop",
    ) -> None:
        folder = require_folder(root, "the huggingface format")
        table = read_arrow_files(folder, path)
        images = ArrowImages(table, image_column, folder)
        self._dataset: ArrowObjects | ArrowLabels
        if OBJECTS in table.columns.column_names:
            self._dataset = ArrowObjects(table, images, box_format, classes, on_bad_box)
        else:
            self._dataset = ArrowLabels(table, images, label_column, classes)
        super().__init__(self._dataset, self._dataset.report)

    def __len__(self) -> int:
        return len(self._dataset)

    @property
    def bit_depth(self) -> int | None:
        """See `ImageReader`."""
        return self._dataset.bit_depth

    @bit_depth.setter
    def bit_depth(self, value: int | None) -> None:
        self._dataset.bit_depth = value

    def locate(self, index: int) -> tuple[VisionDataset, int]:
        """See `DelegatingDataset`."""
        return self._dataset, index


class ArrowObjects(FoundObjectsDataset):
    """Images of a table with objects; arguments as in `HuggingFace`."""

    def __init__(
        self,
        table: ArrowTable,
        images: ArrowImages,
        box_format: BoxFormat,
        classes: list[str] | None,
        on_bad_box: BadBoxPolicy,
    ) -> None:
        self.source, self.report, self._images = table.source, {}, images
        names = [images.name(index) for index in range(len(images))]
        sizes = [encoded_size(images.encoded(index), name) for index, name in enumerate(names)]
        owners, entries = _flatten(table.columns.column(OBJECTS).to_pylist(), names, table.source)
        boxes = entries.rows("bbox", 4, "a list of 4 numbers")
        if box_format == "xywh":
            boxes[:, 2:] += boxes[:, :2]
        stored = stored_names(table.features, OBJECTS, "category")
        labels, known = _class_names(entries.ids("category"), stored, classes, table.source)
        objects = [
            FoundObject(owner, label, (x1, y1, x2, y2), place=f"{self.source.name} row {owner}")
            for owner, label, (x1, y1, x2, y2) in zip(owners, labels, boxes.tolist(), strict=True)
        ]
        self.fill(FoundImages(table.source.parent, names, sizes), objects, known, classes, False, on_bad_box)

    def image(self, index: int) -> ImageArray:
        """See `DetectionDataset`."""
        return decode_image(self._images.encoded(index), self._images.name(index), self.bit_depth)

    def path(self, index: int) -> None:
        """Return None: the image has no file of its own."""

    def encoded(self, index: int) -> bytes:
        """See `ImageReader`."""
        return self._images.encoded(index)


class ArrowLabels(ImageReader, ClassificationDataset):
    """Images of a table with one class each; arguments as in `HuggingFace`."""

    def __init__(self, table: ArrowTable, images: ArrowImages, label_column: str, classes: list[str] | None) -> None:
        self.report: dict[str, int] = {}
        self._images = images
        columns = table.columns.column_names
        if columns.count(label_column) != 1:
            raise DataError(
                f"{table.source} has neither a column objects nor a column {label_column}; its columns are "
                f"{format_list(columns)}\nset label_column in the split to that of the classes"
            )
        values = [{label_column: value} for value in table.columns.column(label_column).to_pylist()]
        given = JsonEntries(values, "the table", "row", table.source).ids(label_column)
        stored = stored_names(table.features, label_column)
        labels, known = _class_names(given, stored, classes, table.source)
        self.set_class_names(check_requested_classes(known, classes, table.source) if stored else classes or known)
        check_at_least_two_classes(self.class_names, table.source)
        self.labels = self._indices(labels, table.source)

    def _indices(self, labels: Sequence[str], source: Path) -> NDArray[np.int64]:
        index = {name: position for position, name in enumerate(self.class_names)}
        for row, label in enumerate(labels):
            if label not in index:
                raise DataError(f"{source}: row {row} has the unknown class {shorten(label)}")
        return np.array([index[label] for label in labels], np.int64)

    def image(self, index: int) -> ImageArray:
        """See `ClassificationDataset`."""
        return decode_image(self._images.encoded(index), self.name(index), self.bit_depth)

    def encoded(self, index: int) -> bytes:
        """See `ImageReader`."""
        return self._images.encoded(index)

    def name(self, index: int) -> str:
        """See `ArrowImages`."""
        return self._images.name(index)

    def image_size(self, index: int) -> tuple[int, int]:
        """Return (height, width) in pixels after EXIF rotation, from the image's header."""
        return encoded_size(self._images.encoded(index), self.name(index))


def _flatten(rows: Sequence[Any], names: Sequence[str], source: Path) -> tuple[list[int], JsonEntries]:
    """Return the objects of all rows, and the index of each one's image. A row without a value has no objects."""
    owners: list[int] = []
    entries: list[dict[str, Any]] = []
    for index, value in enumerate(rows):
        for bbox, category in _pairs(value, f"{source}: row {index}"):
            owners.append(index)
            entries.append({"image_id": names[index], "bbox": bbox, "category": category})
    return owners, JsonEntries(entries, OBJECTS, "object", source)


def _pairs(value: Any, place: str) -> Iterable[tuple[Any, Any]]:
    """Return box and category of each object; a table has lists of both, or a list of pairs."""
    if value is None:
        return ()
    if isinstance(value, list) and all(isinstance(item, dict) for item in value):
        return [(item.get("bbox"), item.get("category")) for item in value]
    boxes, categories = (value.get("bbox"), value.get("category")) if isinstance(value, dict) else (None, None)
    if not isinstance(boxes, list) or not isinstance(categories, list) or len(boxes) != len(categories):
        raise DataError(f"{place}: objects must have a list bbox and a list category of the same length")
    return zip(boxes, categories, strict=True)


def _class_names(
    given: Sequence[int | str], stored: list[str] | None, classes: list[str] | None, source: Path
) -> tuple[list[str], list[str]]:
    """Return the name of each class that is given as index or name, and the names of all classes in label order."""
    texts = {value for value in given if isinstance(value, str)}
    names = stored or (sorted(texts | set(classes or ())) if texts else classes)
    if names is None and given:
        raise DataError(f"{source}: the classes are numbers without names; list their names in the card: data.classes")
    named = names or []
    wrong = next((value for value in given if isinstance(value, int) and not 0 <= value < len(named)), None)
    if wrong is not None:
        raise DataError(f"{source}: the class {wrong} is not the index of a class, 0 to {len(named) - 1}")
    return [value if isinstance(value, str) else named[value] for value in given], named
