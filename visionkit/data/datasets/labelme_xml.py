"""The `labelme_xml` format: one XML file per image, as the LabelMe tool of the web wrote it, and CVAT writes it."""

import re
from pathlib import Path
from typing import NamedTuple
from xml.etree.ElementTree import Element

import numpy as np
from numpy.typing import NDArray

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.found_objects import (
    FoundImages,
    FoundObject,
    FoundObjectsDataset,
    box_of,
    check_stated_size,
    runs_of,
)
from visionkit.data.datasets.outlines import finite, polygon
from visionkit.data.datasets.recognition import (
    FolderListing,
    Recognized,
    files_with,
    folders_of,
    one_per_split,
)
from visionkit.data.datasets.repair_boxes import BadBoxPolicy
from visionkit.data.io.bad_files import BadFilePolicy
from visionkit.data.io.foreign_paths import find_foreign
from visionkit.data.io.image_files import open_image
from visionkit.data.io.json_files import garbage_collection_paused
from visionkit.data.io.paths import require_existing, require_folder
from visionkit.data.io.xml_files import read_xml
from visionkit.errors import DataError
from visionkit.text import printable, shorten

IMAGES, MASKS, SCRIBBLES = "Images", "Masks", "Scribbles"
"""Folders in the collections of the web tool."""

ROTATION = re.compile(r"rotation=(-?[\d.]+)")
"""What CVAT writes into the attributes of a box, whose corners are those before the rotation."""


class XmlFile(NamedTuple):
    """An XML file: its path, the name and folder of its image, (height, width) if it states them, and its objects."""

    path: Path
    image: str
    folder: str
    size: tuple[int, int] | None
    objects: list[Element]


def recognize_labelme_xml(listing: FolderListing) -> Recognized | None:
    """Return the folders of LabelMe's XML files, one for each split."""
    files = [name for word in ("<pt>", "<segm>") for name in files_with(listing, ".xml", "<annotation>", word)]
    return one_per_split(
        listing, folders_of(files), lambda folder: {"annotations": folder, **_image_option(listing, folder)}
    )


def _image_option(listing: FolderListing, folder: str) -> dict[str, str]:
    """Return the folder of the images, unless they are found without it."""
    others = {MASKS, SCRIBBLES}
    folders = {name: count for name, count in listing.image_folders.items() if not others.intersection(name.split("/"))}
    if folder in folders or not folders or any(name.split("/")[0] == IMAGES for name in folders):
        return {}
    return {"images": max(folders, key=folders.__getitem__)}


@formats.register("labelme_xml", options_for={"masks": {"masks": True}}, recognize=recognize_labelme_xml)
class LabelmeXml(FoundObjectsDataset):
    """Images with the boxes, polygons and masks of their XML files of LabelMe's web tool.

    Deleted objects are left out and counted. A part of another object (`ispartof`) is an object itself. Attributes,
    `occluded`, `verified` and scribbles are ignored.

    Args:
        root: folder of the dataset.
        annotations: folder of the XML files, which are found at any depth, or one file; relative to `root`.
        images: folder of the images, relative to `root`; None searches beside each XML file. The folder that an XML
            file names is looked up in it, too.
        classes: classes to keep, in label order; objects of other classes are skipped and counted. None keeps all, in
            alphabetical order.
        masks: whether samples have instance masks.
        on_bad_box: drop boxes without area, or raise; see `repair_boxes`.
        on_bad_file: raise an error for missing and unreadable images, or skip them.

    Raises:
        DataError: files are missing, an object is malformed, or no object remains.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from visionkit.data.datasets.labelme_xml import LabelmeXml
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (64, 48)).save(folder / "a.jpg")
        >>> points = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in [(24, 12), (40, 12), (40, 36)])
        >>> found = f"<object><name>cat</name><deleted>0</deleted><polygon>{points}</polygon></object>"
        >>> _ = (folder / "a.xml").write_text(f"<annotation><filename>a.jpg</filename>{found}</annotation>")
        >>> LabelmeXml(folder)[0].annotation.boxes
        array([[24., 12., 40., 36.]], dtype=float32)
    """

    @garbage_collection_paused()
    def __init__(
        self,
        root: Path | None,
        annotations: str = "",
        images: str | None = None,
        classes: list[str] | None = None,
        masks: bool = False,
        on_bad_box: BadBoxPolicy = "drop",
        on_bad_file: BadFilePolicy = "raise",
    ) -> None:
        self.folder = require_folder(root, "the labelme_xml format")
        self.source = require_existing(self.folder / annotations)
        self.report: dict[str, int] = {}
        files = [self._read(path) for path in self.list_annotation_files(".xml")]
        known = {_label(node, file.path, index) for file in files for index, node in enumerate(file.objects)}
        found, files = self._open_images(files, images, on_bad_file)
        objects = [
            self._object(position, file, index, found.sizes[position])
            for position, file in enumerate(files)
            for index in range(len(file.objects))
        ]
        self.fill(found, self.drop_repeats(objects), sorted(known | set(classes or ())), classes, masks, on_bad_box)

    def _read(self, path: Path) -> XmlFile:
        """Return the content of a file without its deleted objects."""
        tree = read_xml(path)
        image = _text(tree, "filename")
        if tree.tag != "annotation" or not image:
            raise DataError(f"{path} is no XML file of LabelMe: it must have an <annotation> with a <filename>")
        nodes = tree.findall("object")
        kept = [node for node in nodes if _text(node, "deleted") != "1"]
        self.count("deleted objects left out", len(nodes) - len(kept))
        return XmlFile(path, image, _text(tree, "folder"), _size(tree, path), kept)

    def _open_images(
        self, files: list[XmlFile], images: str | None, on_bad_file: BadFilePolicy
    ) -> tuple[FoundImages, list[XmlFile]]:
        """Return the images, and their XML files."""
        nears = [file.path.parent if images is None else self.folder / images for file in files]
        paths = ["/".join(filter(None, (IMAGES, file.folder, file.image))) for file in files]
        names = self.find_names(self.folder, paths, nears)
        found = self.open_images(self.folder, names, on_bad_file)
        opened = set(found.names)
        files = [file for file, name in zip(files, names, strict=True) if name in opened]
        for index, file in enumerate(files):
            if file.size is not None:
                check_stated_size(found, index, file.size, str(file.path))
        return found, files

    def _object(self, image: int, file: XmlFile, index: int, size: tuple[int, int]) -> FoundObject:
        node, place = file.objects[index], _place(file.path, index)
        label = _label(node, file.path, index)
        mask, outline = node.find("segm"), node.find("polygon")
        if mask is not None:
            return self._painted(image, file, _text(mask, "mask"), size, label, place)
        if outline is None:
            raise DataError(f"{place} has neither a polygon nor a mask (segm)")
        numbers = _points(outline, place)
        if _text(node, "type") == "bounding_box":
            _check_not_rotated(node, place)
            return FoundObject(image, label, box_of([numbers]), place=place)
        return FoundObject(image, label, box_of([numbers]), [numbers], place)

    def _painted(
        self, image: int, file: XmlFile, mask: str, size: tuple[int, int], label: str, place: str
    ) -> FoundObject:
        """Return the object of a mask file, which is in `Masks`, or in the folder of the image in it."""
        candidates = ("/".join(filter(None, (MASKS, folder, mask))) for folder in (file.folder, ""))
        name = next(filter(None, (find_foreign(self.folder, path, file.path.parent) for path in candidates)), None)
        if not mask or name is None:
            raise DataError(f"{place}: its mask {shorten(mask)} does not exist in a folder {MASKS}")
        inside = _read_painted(self.folder / name)
        if inside.shape != size:
            raise DataError(f"{place}: its mask {name} has {inside.shape} pixels, and the image has {size}")
        rows, columns = inside.any(axis=1).nonzero()[0], inside.any(axis=0).nonzero()[0]
        if not len(rows):
            return FoundObject(image, label, (0.0, 0.0, 0.0, 0.0), place=place)  # a box without area
        box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
        return FoundObject(image, label, box, place=place, runs=runs_of(inside))


def _read_painted(path: Path) -> NDArray[np.bool_]:
    """Return the mask in a file, bool [H, W]. LabelMe writes transparent black where there is no object."""
    with open_image(path, "mask") as opened:
        opened.load()
        values = np.asarray(opened)
    return np.asarray(values > 0 if values.ndim == 2 else (values > 0).any(axis=2))


def _place(path: Path, index: int) -> str:
    return f"{path} object {index}"


def _text(node: Element, tag: str) -> str:
    return (node.findtext(tag) or "").strip()


def _label(node: Element, path: Path, index: int) -> str:
    label = _text(node, "name")
    if not label:
        raise DataError(f"{_place(path, index)} has no name")
    return label


def _size(tree: Element, path: Path) -> tuple[int, int] | None:
    texts = [_text(tree, f"imagesize/{tag}") for tag in ("nrows", "ncols")]
    if not any(texts):
        return None
    if not all(text.isascii() and text.isdecimal() and len(text) < 10 for text in texts):
        raise DataError(f"{path} has the imagesize {' x '.join(map(printable, texts))[:80]}; it must be of integers")
    return int(texts[0]), int(texts[1])


def _points(outline: Element, place: str) -> list[float]:
    """Return the points of a polygon as [x, y, x, y, ...]."""
    texts = [_text(point, axis) for point in outline.findall("pt") for axis in ("x", "y")]
    try:
        numbers = list(map(float, texts))
    except ValueError as error:
        raise DataError(f"{place} has the coordinates {shorten(texts)}; they must be numbers") from error
    return polygon(finite(numbers, place), place)


def _check_not_rotated(node: Element, place: str) -> None:
    rotation = ROTATION.search(_text(node, "attributes"))
    if rotation is not None and rotation[1].strip("-0."):
        raise DataError(
            f"{place} is a box with {rotation[0][:40]}, of which the file has the corners before the rotation\n"
            'export the task as "CVAT for images 1.1", whose rotated boxes are read with rotated_boxes: hull'
        )
