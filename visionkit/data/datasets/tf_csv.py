"""The `tf_csv` format: the table of boxes of TensorFlow's object detection, as xml_to_csv and Roboflow write it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.found_objects import (
    Box,
    FoundImages,
    FoundObject,
    FoundObjectsDataset,
    check_stated_size,
)
from visionkit.data.datasets.label_map import read_label_map
from visionkit.data.datasets.recognition import FolderListing, Recognized, files_with, main_image_folder, one_per_split
from visionkit.data.datasets.repair_boxes import BadBoxPolicy
from visionkit.data.datasets.table_objects import UnlistedPolicy, parse_number, with_unlisted
from visionkit.data.io.bad_files import BadFilePolicy
from visionkit.data.io.csv_rows import CsvRow, read_csv_columns
from visionkit.data.io.image_files import MAX_PIXELS
from visionkit.data.io.image_index import ImageIndex
from visionkit.data.io.json_files import garbage_collection_paused
from visionkit.data.io.paths import require_file, require_folder
from visionkit.errors import DataError

SIDES = ("xmin", "ymin", "xmax", "ymax")
COLUMNS = ("filename", "width", "height", "class", *SIDES)


class TableBox(NamedTuple):
    """A row: its line, the name of the class and the box in pixels."""

    line: int
    name: str
    box: Box


def recognize_tf_csv(listing: FolderListing) -> Recognized | None:
    """Return the tables of TensorFlow's object detection, one for each split."""
    files = files_with(listing, ".csv", "filename", "class", "xmin", "ymax")
    maps = listing.with_suffix(".pbtxt")
    label_map = {"label_map": maps[0]} if len(maps) == 1 else {}
    return one_per_split(
        listing, files, lambda name: {"annotations": name, "images": main_image_folder(listing, name), **label_map}
    )


@formats.register("tf_csv", recognize=recognize_tf_csv)
class TFCsv(FoundObjectsDataset):
    r"""Images with the boxes of a CSV file.

    Its columns are filename, width, height, class, xmin, ymin, xmax and ymax, in any order and among others.
    A row without class and box stands for an image without objects. Rows that repeat another one are dropped and
    counted. `filename` may be a path of another machine; upper and lower case are the same (`a.JPG`, `a.jpg`).

    Args:
        root: folder of the dataset.
        annotations: the CSV file, relative to `root`.
        images: folder of the images at any depth, relative to `root`.
        label_map: `labelmap.pbtxt` with the classes in label order, relative to `root`. None takes the classes of the
            file in alphabetical order, and those of the card.
        classes: classes to keep, in label order; objects of other classes are skipped and counted. None keeps all.
        unlisted: images of the folder without rows are left out (skip), or are images without objects (empty).
        delimiter: separates the columns. Spreadsheets of some countries write `;`.
        on_bad_box: drop boxes without area, or raise; see `repair_boxes`.
        on_bad_file: raise an error for missing and unreadable images, or skip them.

    Raises:
        DataError: files are missing, a row is malformed, an image has another size than its rows say, or no object
            remains.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from visionkit.data.datasets.tf_csv import TFCsv
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (64, 48)).save(folder / "a.jpg")
        >>> header = "filename,width,height,class,xmin,ymin,xmax,ymax"
        >>> _ = (folder / "train.csv").write_text(f"{header}\na.jpg,64,48,cat,8,4,28,14\n")
        >>> TFCsv(folder, "train.csv")[0].annotation.boxes
        array([[ 8.,  4., 28., 14.]], dtype=float32)
    """

    @garbage_collection_paused()
    def __init__(
        self,
        root: Path | None,
        annotations: str = "_annotations.csv",
        images: str = "",
        label_map: str | None = None,
        classes: list[str] | None = None,
        unlisted: UnlistedPolicy = "skip",
        delimiter: str = ",",
        on_bad_box: BadBoxPolicy = "drop",
        on_bad_file: BadFilePolicy = "raise",
    ) -> None:
        folder = require_folder(root, "the tf_csv format")
        self.source, self.report = require_file(folder / annotations), {}
        names = None if label_map is None else read_label_map(require_file(folder / label_map))
        rows = self._rows_by_image(read_csv_columns(self.source, COLUMNS, delimiter=delimiter))
        index = ImageIndex(require_folder(folder / images, "the tf_csv format"))
        found_names = self._find_images(rows, index)
        first_rows = {found_names[image]: group[0] for image, group in rows.items()}
        stated = {found_names[image]: self._stated_size(image, group) for image, group in rows.items()}
        every = with_unlisted(list(stated), index, unlisted, self.report)
        found = self.open_images(folder / images, every, on_bad_file)
        for position, name in enumerate(found.names):
            if name in stated:
                check_stated_size(found, position, stated[name], self._place(first_rows[name]))
        boxes = {found_names[image]: self._boxes(group) for image, group in rows.items()}
        known = names or sorted({box.name for group in boxes.values() for box in group} | set(classes or ()))
        self.fill(found, self._objects(found, boxes), known, classes, False, on_bad_box)

    def _place(self, row: CsvRow) -> str:
        return f"{self.source}, line {row.line}"

    def _rows_by_image(self, rows: Sequence[CsvRow]) -> dict[str, list[CsvRow]]:
        """Return the rows by file name."""
        groups: dict[str, list[CsvRow]] = {}
        for row in rows:
            if not row.cells[0]:
                raise DataError(f"{self.source}, line {row.line}: the filename is empty")
            groups.setdefault(row.cells[0], []).append(row)
        if not groups:
            raise DataError(f"{self.source} has no rows below its header")
        return groups

    def _find_images(self, rows: Mapping[str, Sequence[CsvRow]], index: ImageIndex) -> dict[str, str]:
        """Return the name of the image file by the name in the table, which is kept for a missing image."""
        found: dict[str, str] = {}
        for given, group in rows.items():
            try:
                found[given] = index.find([given]) or given
            except DataError as error:
                raise DataError(f"{self.source}, line {group[0].line}: {error}") from error
        first: dict[str, str] = {}
        for given, name in found.items():
            other = first.setdefault(name, given)
            if other != given:
                raise DataError(f"{self.source}, line {rows[given][0].line}: {given} and {other} are both {name}"[:400])
        return found

    def _stated_size(self, image: str, rows: Sequence[CsvRow]) -> tuple[int, int]:
        """Return (height, width) of an image, which must be the same in all of its rows."""
        texts = rows[0].cells[1:3]
        for row in rows:
            if row.cells[1:3] != texts:
                raise DataError(
                    f"{self.source}, line {row.line}: {image} has width and height {', '.join(row.cells[1:3])}, but "
                    f"{', '.join(texts)} in line {rows[0].line}"[:400]
                )
        place = f"{self.source}, line {rows[0].line}"
        width, height = (parse_number(text, name, place) for text, name in zip(texts, COLUMNS[1:3], strict=True))
        if not all(1 <= side <= MAX_PIXELS and side == int(side) for side in (width, height)):
            raise DataError(f"{place}: the width and height {', '.join(texts)} are not positive integers"[:400])
        return int(height), int(width)

    def _boxes(self, rows: Sequence[CsvRow]) -> list[TableBox]:
        """Return the boxes of an image; a row without class and box has none."""
        boxes: dict[tuple[str, Box], TableBox] = {}
        for line, cells in rows:
            if not any(cells[3:]):
                continue
            place = f"{self.source}, line {line}"
            if not cells[3]:
                raise DataError(f"{place}: the class is empty")
            x1, y1, x2, y2 = (parse_number(text, side, place) for text, side in zip(cells[4:], SIDES, strict=True))
            box = TableBox(line, cells[3], (x1, y1, x2, y2))
            self.count("repeated rows dropped", boxes.setdefault((box.name, box.box), box) is not box)
        return list(boxes.values())

    def _objects(self, images: FoundImages, boxes: Mapping[str, Sequence[TableBox]]) -> list[FoundObject]:
        return [
            FoundObject(index, box.name, box.box, place=f"{self.source.name} line {box.line}")
            for index, name in enumerate(images.names)
            for box in boxes.get(name, ())
        ]
