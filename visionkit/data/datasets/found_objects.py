"""Objects that a reader finds file by file, and the dataset made of them."""

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.annotation_table import AnnotationTable
from visionkit.data.datasets.base_detection import DetectionDataset
from visionkit.data.datasets.class_checks import check_class_names
from visionkit.data.datasets.coco_masks import CocoMasks
from visionkit.data.datasets.json_entries import JsonEntries
from visionkit.data.datasets.packed_sequence import PackedSequence
from visionkit.data.datasets.repair_boxes import LARGEST_COORDINATE, BadBoxPolicy, repair_boxes
from visionkit.data.io.bad_files import BadFilePolicy, find_readable
from visionkit.data.io.foreign_paths import find_foreign
from visionkit.data.io.image_files import MAX_PIXELS
from visionkit.data.io.images import image_size
from visionkit.data.io.list_images import list_files
from visionkit.data.io.paths import MAX_LISTED, check_unique, find_missing, resolve_inside
from visionkit.errors import DataError
from visionkit.text import format_list, printable, shorten

Box = tuple[float, float, float, float]
Polygon = list[float]


class FoundObject(NamedTuple):
    """An object as it stands in an annotation file.

    Attributes:
        image: index of its image.
        name: name of its class.
        box: x1, y1, x2, y2 in pixels of the image.
        polygons: outlines as [x, y, x, y, ...] in pixels; empty if it has only a box, or `runs`.
        place: where it stands, for messages ("labels/a.txt line 3").
        crowd, difficult: see `Annotation`.
        runs: run lengths of its mask instead of polygons: column by column of the whole image, background first.
    """

    image: int
    name: str
    box: Box
    polygons: Sequence[Polygon] = ()
    place: str = ""
    crowd: bool = False
    difficult: bool = False
    runs: Sequence[int] = ()


class FoundImages(NamedTuple):
    """Image files as annotation files list them.

    Attributes:
        folder: folder that the names are relative to.
        names: file name of each image, which is also its id.
        sizes: (height, width) of each image in pixels.
    """

    folder: Path
    names: Sequence[str]
    sizes: Sequence[tuple[int, int]]


class FoundObjectsDataset(DetectionDataset):
    """Base class of the formats whose annotation files are read one by one.

    A subclass collects the images and the objects in its constructor, and passes them to `fill`.

    Attributes:
        source: the annotation file or folder, for messages.
    """

    source: Path

    def list_annotation_files(self, suffix: str) -> list[Path]:
        """Return `source`, or its files with a suffix (".json") at any depth if it is a folder.

        Raises:
            DataError: there are no such files.
        """
        counts = Counter[str]()
        paths = list_files(self.source, suffix, counts)
        for reason, number in counts.items():
            self.count(reason, number)
        if not paths:
            raise DataError(f"{self.source} has no {suffix} files")
        return paths

    def find_names(self, folder: Path, names: Iterable[str], nears: Iterable[Path]) -> list[str]:
        """Return the names of images in `folder` that the paths in annotation files stand for, see `find_foreign`.

        A path that is not found stays as it is, for the message of `open_images`.

        Args:
            folder: folder of the dataset.
            names: path of each image as it stands in its file.
            nears: folder in which each path is looked up first.
        """
        return [find_foreign(folder, name, near) or name for name, near in zip(names, nears, strict=False)]

    def open_images(self, folder: Path, names: Sequence[str], on_bad_file: BadFilePolicy) -> FoundImages:
        """Return images with their sizes, which are read from the headers of the files.

        Args:
            folder: folder that the names are relative to.
            names: names of the image files.
            on_bad_file: raise an error for missing and unreadable images, or skip and count them.

        Raises:
            DataError: images are missing, unreadable or outside the folder.
        """
        paths = resolve_inside(folder, names, self.source)
        missing = set(find_missing(paths))
        if missing and on_bad_file == "raise":
            listed = format_list([printable(names[index]) for index in sorted(missing)], MAX_LISTED)
            raise DataError(
                f"{self.source}: {len(missing)} of {len(names)} images are missing: {listed}\n"
                "set on_bad_file: skip in the split to leave them out"
            )
        self.count("missing images skipped", len(missing))
        present = [name for index, name in enumerate(names) if index not in missing]
        sizes: dict[Path, tuple[int, int]] = {}

        def read_size(path: Path) -> None:
            sizes[path] = image_size(path)

        readable = find_readable(folder, present, on_bad_file, self.report, read_size)
        kept = [name for name, is_readable in zip(present, readable, strict=True) if is_readable]
        if on_bad_file == "raise":
            for name in kept:
                read_size(folder / name)
        return FoundImages(folder, kept, [sizes[folder / name] for name in kept])

    def drop_repeats(self, objects: Sequence[FoundObject]) -> list[FoundObject]:
        """Return the objects without those that equal an earlier one of the image, which are counted."""
        first: dict[object, FoundObject] = {}
        for found in objects:
            key = (found.image, found.name, found.box, *map(tuple, found.polygons), tuple(found.runs))
            first.setdefault(key, found)
        self.count("repeated objects dropped", len(objects) - len(first))
        return list(first.values())

    def fill(
        self,
        images: FoundImages,
        objects: Sequence[FoundObject],
        known_classes: Sequence[str],
        classes: Sequence[str] | None,
        masks: bool,
        on_bad_box: BadBoxPolicy,
    ) -> None:
        """Check images and objects, and store them.

        Objects of known classes that `classes` leaves out are skipped and counted. With `masks`, the box of an object
        without polygons is its mask, which is counted.

        Args:
            images: the images.
            objects: the objects.
            known_classes: names of all classes of the annotation files, in label order.
            classes: names of the classes to keep, in label order; None keeps all.
            masks: whether samples have instance masks.
            on_bad_box: drop boxes without area, or raise; see `repair_boxes`.

        Raises:
            DataError: an image is missing, repeated or outside the folder, a size, class, box or polygon is not usable,
                or no object remains.
        """
        self._set_images(images)
        self.class_names = list(classes or known_classes)
        check_class_names(self.class_names)
        check_class_names(known_classes)
        self._check_classes(known_classes)
        self.category_ids = list(range(1, len(self.class_names) + 1))
        kept = self._of_classes(objects, known_classes)
        image_index = np.array([found.image for found in kept], np.int64)
        boxes = np.array([found.box for found in kept], np.float64).reshape(-1, 4)
        self._check_numbers(boxes, kept)
        places = [f"{images.names[found.image]} ({found.place})" for found in kept]
        repaired, good = repair_boxes(
            boxes.astype(np.float32), self.sizes[image_index], places, on_bad_box, self.report
        )
        kept = [found for found, is_good in zip(kept, good.tolist(), strict=True) if is_good]
        self._set_objects(kept, repaired[good], image_index[good])
        if masks:
            self._set_masks([kept[row] for row in self.objects.order])

    def _set_images(self, images: FoundImages) -> None:
        if not images.names:
            raise DataError(f"{self.source} has no images")
        check_unique(images.names, "images", self.source)
        self.image_folder = images.folder
        self.file_names = PackedSequence(images.names)
        self.image_ids = self.file_names
        self.sizes = np.array(images.sizes, np.int64).reshape(-1, 2)
        wrong = (self.sizes < 1).any(axis=1) | (self.sizes.prod(axis=1) > MAX_PIXELS)
        if wrong.any():
            index = int(wrong.argmax())
            raise DataError(
                f"{self.source}: the image {images.names[index]} has {images.sizes[index][0]} x "
                f"{images.sizes[index][1]} pixels; 1 to {MAX_PIXELS} are read"
            )

    def _check_classes(self, known: Sequence[str]) -> None:
        unknown = [name for name in self.class_names if name not in known]
        if unknown:
            raise DataError(f"{self.source} has no class {', '.join(unknown)}; it has {', '.join(known)}"[:400])

    def _of_classes(self, objects: Sequence[FoundObject], known: Sequence[str]) -> list[FoundObject]:
        """Return the objects of the classes to keep, and count the others."""
        known_names, kept_names = set(known), set(self.class_names)
        for found in objects:
            if found.name not in known_names:
                raise DataError(f"{found.place}: unknown class {found.name!r}; known: {', '.join(known)}"[:400])
        kept = [found for found in objects if found.name in kept_names]
        self.count("objects of other classes skipped", len(objects) - len(kept))
        if not kept:
            raise DataError(f"{self.source} has no objects of the classes {', '.join(self.class_names[:8])}")
        return kept

    def _check_numbers(self, boxes: NDArray[np.float64], objects: Sequence[FoundObject]) -> None:
        wrong = ~(np.abs(boxes) < LARGEST_COORDINATE).all(axis=1)  # NaN fails, too
        if wrong.any():
            found = objects[int(wrong.argmax())]
            raise DataError(f"{found.place}: the box {list(found.box)} has NaN, infinite or too large numbers")

    def _set_objects(
        self, objects: Sequence[FoundObject], boxes: NDArray[np.float32], image_index: NDArray[np.int64]
    ) -> None:
        label = {name: index for index, name in enumerate(self.class_names)}
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
        for row, found in enumerate(objects):
            if found.polygons:
                areas[row] = sum(_area(polygon) for polygon in found.polygons)
            elif found.runs:
                areas[row] = sum(found.runs[1::2])
        self.objects = AnnotationTable(
            image_index=image_index,
            num_images=len(self),
            boxes=boxes,
            labels=np.array([label[found.name] for found in objects], np.int64),
            crowd=np.array([found.crowd for found in objects], bool),
            difficult=np.array([found.difficult for found in objects], bool),
            area=areas,
        )

    def _set_masks(self, objects: Sequence[FoundObject]) -> None:
        boxes_only = sum(not (found.polygons or found.runs) for found in objects)
        if boxes_only == len(objects):
            raise DataError(f"{self.source}: no object has a polygon or mask, and the model needs masks")
        self.count("objects without polygon, whose box is their mask", boxes_only)
        entries: list[dict[str, Any]] = [
            {"id": found.place, "segmentation": self._segmentation(found)} for found in objects
        ]
        sizes = np.array([self.sizes[found.image] for found in objects], np.int64).reshape(-1, 2)
        self.object_masks = CocoMasks(JsonEntries(entries, "objects", "object", self.source), sizes, self.report)

    def _segmentation(self, found: FoundObject) -> dict[str, Any] | list[list[float]]:
        """Return the mask of an object in the form of COCO."""
        if found.runs:
            return {"size": self.sizes[found.image].tolist(), "counts": list(found.runs)}
        return [list(polygon) for polygon in found.polygons or [_corners(found.box)]]

    def count(self, reason: str, number: int) -> None:
        """Add to the report."""
        if number:
            self.report[reason] = self.report.get(reason, 0) + number


def check_stated_size(images: FoundImages, index: int, stated: tuple[int, int], place: str) -> None:
    """Raise DataError if the (height, width) that an annotation states is not that of its image."""
    if images.sizes[index] != stated:
        height, width = images.sizes[index]
        raise DataError(
            f"{place} says that the image has {shorten(stated[0])} x {shorten(stated[1])} pixels (height x width), but "
            f"{images.names[index]} has {height} x {width} (after EXIF rotation)\n"
            "the boxes probably belong to another version of the image"
        )


def runs_of(mask: NDArray[np.bool_]) -> Sequence[int]:
    """Return the run lengths of a mask [H, W], column by column, background first, as a compact sequence.

    Example:
        >>> import numpy as np
        >>> from visionkit.data.datasets.found_objects import runs_of
        >>> list(runs_of(np.array([[False, True], [True, True]])))
        [1, 3]
    """
    values = mask.ravel(order="F")
    changes = np.flatnonzero(np.diff(values, prepend=False))
    return array("q", np.diff(changes, prepend=0, append=len(values)).tolist())


def box_of(polygons: Sequence[Polygon]) -> Box:
    """Return the box around polygons of at least one point."""
    x, y = ([value for polygon in polygons for value in polygon[axis::2]] for axis in (0, 1))
    return min(x), min(y), max(x), max(y)


def _corners(box: Box) -> Polygon:
    x1, y1, x2, y2 = box
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def _area(polygon: Polygon) -> float:
    """Return the area inside a polygon by the shoelace formula."""
    if not polygon or len(polygon) % 2:
        return 0.0
    x, y = np.array(polygon[0::2]), np.array(polygon[1::2])
    last = x[-1] * y[0] - y[-1] * x[0]
    return float(abs(np.dot(x[:-1], y[1:]) - np.dot(y[:-1], x[1:]) + last) / 2)
