"""The `open_images_labels` format: the classes of whole images in tables of Open Images."""

from pathlib import Path

import numpy as np

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.base_classification import ClassificationFileDataset
from visionkit.data.datasets.open_images_classes import class_descriptions_option, read_class_names
from visionkit.data.datasets.recognition import FolderListing, Recognized, files_with, main_image_folder, one_per_split
from visionkit.data.datasets.table_objects import UnlistedPolicy, parse_number, with_unlisted
from visionkit.data.io.bad_files import BadFilePolicy
from visionkit.data.io.csv_rows import CsvRow, read_csv_columns
from visionkit.data.io.image_index import ImageIndex
from visionkit.data.io.paths import MAX_LISTED, require_file, require_folder
from visionkit.errors import DataError
from visionkit.option_checks import check_within
from visionkit.text import format_list, shorten

COLUMNS = ("ImageID", "LabelName", "Confidence")


def recognize_open_images_labels(listing: FolderListing) -> Recognized | None:
    """Return the tables of image labels, one for each split; None if there are tables of boxes, which come first."""
    tables = files_with(listing, ".csv", *COLUMNS)
    if set(tables) & set(files_with(listing, ".csv", "XMin")):
        return None
    return one_per_split(
        listing,
        tables,
        lambda name: {
            "annotations": name,
            "images": main_image_folder(listing, name),
            **class_descriptions_option(listing),
        },
    )


@formats.register("open_images_labels", recognize=recognize_open_images_labels)
class OpenImagesLabels(ClassificationFileDataset):
    r"""Images with any number of classes each, of a table of image labels of Open Images.

    The table has the columns ImageID, LabelName and Confidence: 1 for a class that is present, 0 for one that is not,
    and shares between them for labels of a machine. An image whose classes are all absent has no tags. Classes without
    a row are taken as absent, too.

    Args:
        root: folder of the dataset.
        annotations: the table, relative to `root` ("annotations/oidv6-train-annotations-human-imagelabels.csv").
        images: folder of the images, whose names are their ids, relative to `root`.
        class_descriptions: table of labels and names, relative to `root`; its order is that of the classes. None takes
            the labels as names (`/m/01yrx`), in alphabetical order.
        min_confidence: smallest confidence of a class that counts as present, above 0, at most 1.
        classes: names of the classes to keep, in label order; labels of others are skipped and counted. None keeps all
            that `class_descriptions` lists.
        unlisted: images of the folder without rows are left out (skip), or are images without tags (empty).
        on_bad_file: raise an error for missing and unreadable images, or skip them. skip reads every image once.

    Raises:
        DataError: files are missing, a row is malformed or has an unknown label, or a class is unknown.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from visionkit.data.datasets.open_images_labels import OpenImagesLabels
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (64, 48)).save(folder / "0a1b.jpg")
        >>> rows = "ImageID,Source,LabelName,Confidence\n0a1b,verification,/m/1,1\n0a1b,verification,/m/2,0\n"
        >>> _ = (folder / "labels.csv").write_text(rows)
        >>> OpenImagesLabels(folder, "labels.csv").tags(0)
        array([0])
    """

    def __init__(
        self,
        root: Path | None,
        annotations: str,
        images: str = "",
        class_descriptions: str | None = None,
        min_confidence: float = 1.0,
        classes: list[str] | None = None,
        unlisted: UnlistedPolicy = "skip",
        on_bad_file: BadFilePolicy = "raise",
    ) -> None:
        check_within(1e-6, 1, min_confidence=min_confidence)
        folder = require_folder(root, "the open_images_labels format")
        self.source, report = require_file(folder / annotations), dict[str, int]()
        rows = read_csv_columns(self.source, COLUMNS)
        names = read_class_names(folder, class_descriptions, {row.cells[1] for row in rows}, classes)
        self.set_class_names(classes or list(names.values()))
        present = self._present(rows, names, min_confidence, report)
        index = ImageIndex(require_folder(folder / images, "the open_images_labels format"))
        found = self._find_images(present, index, on_bad_file, report)
        files = with_unlisted([*found], index, unlisted, report)
        tags = [sorted(present[found[name]]) if name in found else [] for name in files]
        super().__init__(folder / images, files, np.full(len(files), -1), on_bad_file, report, tags)

    def _present(
        self, rows: list[CsvRow], names: dict[str, str], lowest: float, report: dict[str, int]
    ) -> dict[str, set[int]]:
        """Return the indices of the classes that are present in each image, by its id."""
        known, label_index = set(names.values()), {name: position for position, name in enumerate(self.class_names)}
        if unknown := [name for name in self.class_names if name not in known]:
            raise DataError(f"{self.source}: the class descriptions have no class {format_list(unknown)}"[:400])
        present: dict[str, set[int]] = {}
        for line, (image, label, text) in rows:
            place = f"{self.source}, line {line}"
            if not image:
                raise DataError(f"{place}: the ImageID is empty")
            if not label or label not in names:
                raise DataError(f"{place}: the label {shorten(label)} is not in the class descriptions")
            confidence = parse_number(text, "Confidence", place)
            if not 0 <= confidence <= 1:
                raise DataError(f"{place}: the Confidence {shorten(text)} is not within 0 to 1")
            own = present.setdefault(image, set())
            position = label_index.get(names[label])
            if position is None:
                _count(report, "labels of other classes skipped")
            elif confidence >= lowest:
                own.add(position)
            else:
                _count(report, "labels below min_confidence, taken as absent")
        if not present:
            raise DataError(f"{self.source} has no rows below its header")
        return present

    def _find_images(
        self, present: dict[str, set[int]], index: ImageIndex, on_bad_file: BadFilePolicy, report: dict[str, int]
    ) -> dict[str, str]:
        """Return the id of each image by its file name."""
        try:
            names = {image: index.find_stem(image) for image in present}
        except DataError as error:
            raise DataError(f"{self.source}: {error}") from error
        missing = [image for image, name in names.items() if name is None]
        if missing and on_bad_file == "raise":
            listed = format_list(missing, MAX_LISTED)
            raise DataError(
                f"{self.source}: {len(missing)} of {len(names)} images are missing: {listed}\n"
                "set on_bad_file: skip in the split to leave them out"
            )
        if missing:
            report["missing images skipped"] = len(missing)
        return {name: image for image, name in names.items() if name is not None}


def _count(report: dict[str, int], reason: str) -> None:
    report[reason] = report.get(reason, 0) + 1
