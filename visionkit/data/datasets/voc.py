"""The `voc` format: Pascal VOC's XML annotations, one file per image (VOC devkit, section 4)."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element

import numpy as np

from visionkit.data.datasets.annotation_table import AnnotationTable
from visionkit.data.datasets.base import formats
from visionkit.data.datasets.base_detection import DetectionDataset
from visionkit.data.datasets.class_checks import check_class_names
from visionkit.data.datasets.packed_sequence import PackedSequence
from visionkit.data.datasets.recognition import (
    SPLITS,
    FolderListing,
    Recognized,
    best_match,
    by_split,
    files_with,
    parent_of,
)
from visionkit.data.datasets.repair_boxes import LARGEST_COORDINATE, BadBoxPolicy, repair_boxes
from visionkit.data.io.image_files import MAX_PIXELS
from visionkit.data.io.list_images import image_suffixes, natural_sort_key
from visionkit.data.io.paths import (
    check_files_exist,
    check_unique,
    read_text,
    require_file,
    require_folder,
    resolve_inside,
)
from visionkit.data.io.xml_files import read_xml
from visionkit.errors import DataError

ANNOTATIONS, IMAGES, IMAGE_SETS = "Annotations", "JPEGImages", "ImageSets/Main"
"""Folders of the VOC devkit."""

FLAGS = {"0": False, "1": True, "false": False, "true": True}


def recognize_voc(listing: FolderListing) -> Recognized | None:
    """Return the image sets of a VOC folder, or the XML files of a folder without image sets."""
    files = files_with(listing, ".xml", "<annotation>", "<size>")
    if not files:
        return None
    folder, _, annotations = parent_of(files[0]).rpartition("/")
    if annotations == ANNOTATIONS and f"{folder}/{IMAGES}".lstrip("/") in listing.image_folders:
        place = {"folder": folder} if folder else {}
        present = [name for name in (*SPLITS, "trainval") if f"{folder}/{IMAGE_SETS}/{name}.txt".lstrip("/") in listing]
        sets = {name: {"image_set": name, **place} for name in present if name != "trainval"}
        if "trainval" in present and "train" not in sets:
            sets["train"] = {"image_set": "trainval", **place}
        if sets:
            return Recognized(sets)
    folders = by_split(sorted({parent_of(name) for name in files}))
    splits: dict[str, dict[str, Any]] = {}
    for split, names in folders.items():
        first = next(name for name in files if parent_of(name) == names[0])
        images = listing.images_by_stem.get(PurePosixPath(first).stem)
        if images is None:
            return Recognized({}, notes=[f"the image of {first} is not in the folder"])
        splits[split] = {"annotations": names[0], "images": best_match(names[0], list(map(parent_of, images)))}
    return Recognized(splits)


@formats.register("voc", recognize=recognize_voc)
class Voc(DetectionDataset):
    """Images of an image set, or of a folder of annotations, with the objects of their XML files.

    VOC counts pixels from 1 and includes the last pixel, so 1 is subtracted from xmin and ymin to get the edges of a
    box. Parts inside an object (head, hand, foot) are not objects.

    Args:
        root: folder of the dataset, such as one with `Annotations`, `JPEGImages` and `ImageSets/Main`.
        image_set: name of the image list in `ImageSets/Main`; None takes the images of all XML files.
        folder: folder that the following are relative to, relative to `root` ("VOCdevkit/VOC2007").
        annotations: folder of the XML files.
        images: folder of the images.
        classes: class names in label order; an object of another class is an error. None takes the names in all
            annotations of the folder, in alphabetical order, so that the splits agree.
        on_bad_box: drop boxes without area, or raise; see `repair_boxes`.

    Raises:
        DataError: files are missing or malformed, an image is listed twice, or no object remains.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from visionkit.data.datasets.voc import Voc
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("Annotations", "ImageSets/Main", "JPEGImages"):
        ...     (folder / name).mkdir(parents=True)
        >>> Image.new("RGB", (64, 48)).save(folder / "JPEGImages" / "a.jpg")
        >>> size = "<size><width>64</width><height>48</height></size>"
        >>> box = "<bndbox><xmin>9</xmin><ymin>5</ymin><xmax>28</xmax><ymax>14</ymax></bndbox>"
        >>> xml = f"<annotation>{size}<object><name>cat</name>{box}</object></annotation>"
        >>> _ = (folder / "Annotations" / "a.xml").write_text(xml)
        >>> _ = (folder / "ImageSets" / "Main" / "train.txt").write_text("a")
        >>> Voc(folder, "train")[0].annotation.boxes
        array([[ 8.,  4., 28., 14.]], dtype=float32)
    """

    def __init__(
        self,
        root: Path | None,
        image_set: str | None = None,
        folder: str = "",
        annotations: str = ANNOTATIONS,
        images: str = IMAGES,
        classes: list[str] | None = None,
        on_bad_box: BadBoxPolicy = "drop",
    ) -> None:
        self.folder = require_folder(root, "the voc format") / folder
        self.annotation_folder = require_folder(self.folder / annotations, "the voc format")
        self.report: dict[str, int] = {}
        ids = self._ids(image_set)
        roots = [
            read_xml(path) for path in resolve_inside(self.annotation_folder, map("{}.xml".format, ids), self.source)
        ]
        self.class_names = classes or self._all_names()
        check_class_names(self.class_names)
        self.category_ids = list(range(1, len(self.class_names) + 1))
        self.image_ids = PackedSequence(ids)
        self.sizes = np.array([_size(ids[i], root_) for i, root_ in enumerate(roots)], np.int64).reshape(-1, 2)
        self.image_folder = self.folder / images
        suffixes = image_suffixes(self.image_folder)
        names = [_file_name(ids[i], root_, suffixes) for i, root_ in enumerate(roots)]
        check_files_exist(resolve_inside(self.image_folder, names, self.source), self.source)
        self.file_names = PackedSequence(names)
        self._read_objects(ids, roots, on_bad_box)

    def _ids(self, image_set: str | None) -> list[str]:
        """Return the names of the images without suffix."""
        if image_set is None:
            self.source = self.annotation_folder
            ids = sorted((path.stem for path in self.source.glob("*.xml")), key=natural_sort_key)
            if not ids:
                raise DataError(f"{self.source} has no XML files")
            return ids
        self.source = require_file(self.folder / IMAGE_SETS / f"{image_set}.txt")
        ids = [line.split()[0] for line in read_text(self.source).splitlines() if line.strip()]
        check_unique(ids, "images", self.source)
        return ids

    def _all_names(self) -> list[str]:
        names = {
            _text(node, "name", path.stem)
            for path in sorted(self.annotation_folder.glob("*.xml"))
            for node in read_xml(path).findall("object")
        }
        return sorted(names)

    def _read_objects(self, ids: list[str], roots: list[Element], on_bad_box: BadBoxPolicy) -> None:
        label = {name: index for index, name in enumerate(self.class_names)}
        objects = [(i, node) for i, root in enumerate(roots) for node in root.findall("object")]
        if not objects:
            raise DataError(f"{self.source}: no image of this image set has objects")
        names = [_text(node, "name", ids[i]) for i, node in objects]
        for (i, _), name in zip(objects, names, strict=True):
            if name not in label:
                known_names = ", ".join(self.class_names)
                raise DataError(f"{ids[i]}.xml: unknown class {name!r}; data.classes has {known_names}"[:400])
        image_index = np.array([i for i, _ in objects], np.int64)
        boxes = np.array([_box(node, ids[i]) for i, node in objects], np.float32).reshape(-1, 4)
        image_names = [ids[i] for i, _ in objects]
        boxes, good = repair_boxes(boxes, self.sizes[image_index], image_names, on_bad_box, self.report)
        boxes = boxes[good]
        self.objects = AnnotationTable(
            image_index=image_index[good],
            num_images=len(ids),
            boxes=boxes,
            labels=np.array([label[name] for name in names], np.int64)[good],
            crowd=np.zeros(len(boxes), bool),
            difficult=np.array([_flag(node, "difficult", ids[i]) for i, node in objects], bool)[good],
            area=(boxes[:, 2:] - boxes[:, :2]).prod(axis=1),
        )


def _text(node: Element, key: str, image: str) -> str:
    text = node.findtext(key)
    if text is None or not text.strip():
        raise DataError(f"{image}.xml: <{node.tag}> has no <{key}>")
    return text.strip()


def _number(node: Element, key: str, image: str) -> float:
    text = _text(node, key, image)
    try:
        return float(text)
    except ValueError as error:
        raise DataError(f"{image}.xml: <{key}> is {text[:80]!r}, not a number") from error


def _child(node: Element, key: str, image: str) -> Element:
    child = node.find(key)
    if child is None:
        raise DataError(f"{image}.xml: <{node.tag}> has no <{key}>")
    return child


def _size(image: str, root: Element) -> tuple[int, int]:
    size = _child(root, "size", image)
    height, width = (_side(size, key, image) for key in ("height", "width"))
    if height * width > MAX_PIXELS:
        raise DataError(f"{image}.xml: <size> has {height} x {width} pixels; at most {MAX_PIXELS} are read")
    return height, width


def _side(size: Element, key: str, image: str) -> int:
    value = _number(size, key, image)
    if not (1 <= value <= MAX_PIXELS and value == int(value)):  # NaN fails, too
        raise DataError(f"{image}.xml: <{key}> is {_text(size, key, image)!r}, not a positive integer")
    return int(value)


def _file_name(image: str, root: Element, suffixes: Mapping[str, str]) -> str:
    """Return the name of an image: as in the XML, else the id with the suffix of an existing file, else with .jpg.

    Args:
        image: id of the image.
        root: the XML, whose name is taken only if its stem is the id.
        suffixes: suffix of the existing images by their stem.
    """
    named = (root.findtext("filename") or "").strip()
    if named and Path(named).stem == image and suffixes.get(image, Path(named).suffix) == Path(named).suffix:
        return named
    return image + suffixes.get(image, ".jpg")


def _box(node: Element, image: str) -> tuple[float, float, float, float]:
    """Return the edges of an object's box; `find` does not descend into the parts of the object."""
    box = _child(node, "bndbox", image)
    xmin, ymin, xmax, ymax = (_coordinate(box, key, image) for key in ("xmin", "ymin", "xmax", "ymax"))
    # An empty box must not become inverted: it is recognized later, dropped and counted.
    return xmin - (xmax > xmin), ymin - (ymax > ymin), xmax, ymax


def _coordinate(box: Element, key: str, image: str) -> float:
    value = _number(box, key, image)
    if not abs(value) < LARGEST_COORDINATE:  # NaN fails, too
        raise DataError(f"{image}.xml: <{key}> is {_text(box, key, image)!r}; NaN and infinite numbers are no pixels")
    return value


def _flag(node: Element, key: str, image: str) -> bool:
    """Return a flag, which some programs write as a word; a missing or empty one is False."""
    text = (node.findtext(key) or "0").strip()
    value = FLAGS.get(text.lower() or "0")
    if value is None:
        raise DataError(f"{image}.xml: <{key}> is {text!r}, not 0 or 1")
    return value
