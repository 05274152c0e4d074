"""The `open_images` format: tables of boxes and of masks, as Open Images V4 to V7 have them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.found_objects import Box, FoundImages, FoundObject, FoundObjectsDataset
from visionkit.data.datasets.open_images_classes import class_descriptions_option, read_class_names
from visionkit.data.datasets.open_images_masks import MaskTable
from visionkit.data.datasets.recognition import FolderListing, Recognized, files_with, main_image_folder, one_per_split
from visionkit.data.datasets.repair_boxes import BadBoxPolicy
from visionkit.data.datasets.table_objects import UnlistedPolicy, parse_number, with_unlisted
from visionkit.data.io.bad_files import BadFilePolicy
from visionkit.data.io.csv_rows import CsvRow, read_csv_columns
from visionkit.data.io.image_index import ImageIndex
from visionkit.data.io.json_files import garbage_collection_paused
from visionkit.data.io.paths import require_file, require_folder
from visionkit.errors import ConfigError, DataError
from visionkit.text import shorten

SIDES = ("XMin", "YMin", "XMax", "YMax")
COLUMNS = ("ImageID", "LabelName", *SIDES)

FLAGS = {"": False, "-1": False, "0": False, "1": True}
"""Values of `IsGroupOf`; -1 is unknown."""

LARGEST_SHARE = 2.0
"""Shares of a width or height beyond this are no rounding errors, but pixels."""


class TableBox(NamedTuple):
    """A row: its line, the label (`/m/01yrx`), the box in shares of width and height, and whether it is a group."""

    line: int
    label: str
    shares: Box
    is_group: bool


Boxes = Mapping[str, Sequence[TableBox]]
"""Rows by the id of their image."""


def recognize_open_images(listing: FolderListing) -> Recognized | None:
    """Return the tables of boxes of Open Images, one for each split, with the table of the class names."""
    files = files_with(listing, ".csv", "ImageID", "LabelName", "XMin", "IsGroupOf")
    classes = class_descriptions_option(listing)
    return one_per_split(
        listing, files, lambda name: {"annotations": name, "images": main_image_folder(listing, name), **classes}
    )


@formats.register("open_images", options_for={"masks": {"masks": True}}, recognize=recognize_open_images)
class OpenImages(FoundObjectsDataset):
    r"""Images with the boxes, and the masks, of tables of Open Images.

    The table of boxes has the columns ImageID, LabelName, XMin, XMax, YMin, YMax, in shares of width and height, and
    IsGroupOf, which marks crowds. The other columns (IsOccluded, IsDepiction, Confidence ...) are not used, and the
    hierarchy of the classes is not applied.

    Args:
        root: folder of the dataset.
        annotations: the table of boxes, relative to `root` ("annotations/validation-annotations-bbox.csv").
        images: folder of the images, whose names are their ids, relative to `root`.
        class_descriptions: table of labels and names, relative to `root`; its order is that of the classes. None takes
            the labels as names (`/m/01yrx`), in alphabetical order.
        classes: names of the classes to keep, in label order; objects of others are skipped and counted. None keeps
            all that `class_descriptions` lists.
        masks: whether samples have instance masks.
        segmentations: the table of masks, relative to `root`; needed for `masks`.
        mask_folder: folder of the mask files, relative to `root`.
        unlisted: images of the folder without rows are left out (skip), or are images without objects (empty).
        on_bad_box: drop boxes without area, or raise; see `repair_boxes`.
        on_bad_file: raise an error for missing and unreadable images, or skip them.

    Raises:
        DataError: files are missing, a row is malformed or has an unknown label, or no object remains.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from visionkit.data.datasets.open_images import OpenImages
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (64, 48)).save(folder / "0a1b.jpg")
        >>> rows = "ImageID,LabelName,XMin,XMax,YMin,YMax,IsGroupOf\n0a1b,/m/01yrx,0.25,0.5,0.5,1,0\n"
        >>> _ = (folder / "boxes.csv").write_text(rows)
        >>> _ = (folder / "classes.csv").write_text("/m/01yrx,Cat\n")
        >>> OpenImages(folder, "boxes.csv", class_descriptions="classes.csv")[0].annotation.boxes
        array([[16., 24., 32., 48.]], dtype=float32)
    """

    @garbage_collection_paused()
    def __init__(
        self,
        root: Path | None,
        annotations: str,
        images: str = "",
        class_descriptions: str | None = None,
        classes: list[str] | None = None,
        masks: bool = False,
        segmentations: str | None = None,
        mask_folder: str = "masks",
        unlisted: UnlistedPolicy = "skip",
        on_bad_box: BadBoxPolicy = "drop",
        on_bad_file: BadFilePolicy = "raise",
    ) -> None:
        folder = require_folder(root, "the open_images format")
        self.source, self.report = require_file(folder / annotations), {}
        table = _mask_table(folder, segmentations, mask_folder) if masks else None
        boxes = self._boxes_by_image(read_csv_columns(self.source, COLUMNS, ["IsGroupOf"]))
        labels = {box.label for group in boxes.values() for box in group}
        names = read_class_names(folder, class_descriptions, labels, classes)
        self._check_labels(boxes, names)
        found = self._find_images(folder / images, boxes, unlisted, on_bad_file)
        objects = self._objects(found, boxes, names)
        if table is not None:
            objects = self._with_masks(found, boxes, objects, set(classes or names.values()), table)
        self.fill(found, objects, list(dict.fromkeys(names.values())), classes, masks, on_bad_box)

    def _boxes_by_image(self, rows: Sequence[CsvRow]) -> dict[str, list[TableBox]]:
        groups: dict[str, list[TableBox]] = {}
        for row in rows:
            if not (row.cells[0] and row.cells[1]):
                empty = "LabelName" if row.cells[0] else "ImageID"
                raise DataError(f"{self.source}, line {row.line}: the {empty} is empty")
            groups.setdefault(row.cells[0], []).append(self._box(row))
        if not groups:
            raise DataError(f"{self.source} has no rows below its header")
        return groups

    def _box(self, row: CsvRow) -> TableBox:
        place = f"{self.source}, line {row.line}"
        x1, y1, x2, y2 = (parse_number(text, side, place) for text, side in zip(row.cells[2:6], SIDES, strict=True))
        if max(x1, y1, x2, y2) > LARGEST_SHARE:
            raise DataError(f"{place}: the box {[x1, y1, x2, y2]} is not in shares of the image's width and height")
        is_group = FLAGS.get(row.cells[6])
        if is_group is None:
            raise DataError(f"{place}: IsGroupOf is {shorten(row.cells[6])}, not 0, 1 or -1")
        return TableBox(row.line, row.cells[1], (x1, y1, x2, y2), is_group)

    def _check_labels(self, boxes: Boxes, names: Mapping[str, str]) -> None:
        """Check that every label has a name, and a name of its own."""
        lines = {box.label: box.line for group in boxes.values() for box in group}
        labels: dict[str, str] = {}
        for label, line in lines.items():
            if label not in names:
                raise DataError(f"{self.source}, line {line}: {shorten(label)} is not in the class descriptions")
            if labels.setdefault(names[label], label) != label:
                raise DataError(
                    f"{self.source}: the labels {labels[names[label]]} and {label} are both {names[label]}"[:400]
                )

    def _find_images(
        self,
        folder: Path,
        boxes: Boxes,
        unlisted: UnlistedPolicy,
        on_bad_file: BadFilePolicy,
    ) -> FoundImages:
        """Return the images, which have their ids as names."""
        index = ImageIndex(require_folder(folder, "the open_images format"))
        self._ids: dict[str, str] = {}
        for image_id, group in boxes.items():
            try:
                self._ids[index.find_stem(image_id) or f"{image_id}.jpg"] = image_id
            except DataError as error:
                raise DataError(f"{self.source}, line {group[0].line}: {error}") from error
        return self.open_images(folder, with_unlisted(list(self._ids), index, unlisted, self.report), on_bad_file)

    def _boxes_of(self, images: FoundImages, boxes: Boxes) -> list[tuple[int, TableBox]]:
        """Return the index of the image and the row of each object."""
        return [
            (index, box) for index, name in enumerate(images.names) for box in boxes.get(self._ids.get(name, ""), ())
        ]

    def _objects(self, images: FoundImages, boxes: Boxes, names: Mapping[str, str]) -> list[FoundObject]:
        return [
            FoundObject(
                image=index,
                name=names[box.label],
                box=_in_pixels(box.shares, images.sizes[index]),
                place=f"{self.source.name} line {box.line}",
                crowd=box.is_group,
            )
            for index, box in self._boxes_of(images, boxes)
        ]

    def _with_masks(
        self, images: FoundImages, boxes: Boxes, objects: Sequence[FoundObject], classes: set[str], table: MaskTable
    ) -> list[FoundObject]:
        """Return the objects with the masks of those of `classes`; the files of other masks are not read."""
        with_masks = []
        for found, (index, box) in zip(objects, self._boxes_of(images, boxes), strict=True):
            if found.name in classes:
                image_id = self._ids[images.names[index]]
                found = found._replace(runs=table.take(image_id, box.label, box.shares, images.sizes[index]))
            with_masks.append(found)
        for reason, number in table.report().items():
            self.count(reason, number)
        return with_masks


def _mask_table(folder: Path, segmentations: str | None, mask_folder: str) -> MaskTable:
    if segmentations is None:
        raise ConfigError("open_images: masks need the table of masks; set segmentations=... in the split")
    return MaskTable(require_file(folder / segmentations), folder / mask_folder)


def _in_pixels(shares: Box, size: tuple[int, int]) -> Box:
    (x1, y1, x2, y2), (height, width) = shares, size
    return x1 * width, y1 * height, x2 * width, y2 * height
