"""Pascal VOC's XML (devkit, section 4): one file an image, difficult and truncated flags, nested parts."""

from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ParseError

import defusedxml.ElementTree
import numpy as np
from defusedxml.common import DefusedXmlException

from visionkit.data.datasets.annotation_table import AnnotationTable, PackedSequence
from visionkit.data.datasets.base import formats
from visionkit.data.datasets.detection import DetectionFiles
from visionkit.data.datasets.repair_boxes import BadBoxes, repair_boxes
from visionkit.data.io.paths import existing_file, existing_folder, inside, refuse_duplicates, refuse_missing
from visionkit.errors import DataError


@formats.register("voc")
class Voc(DetectionFiles):
    """Images of an image set with the objects of their XML files.

    VOC counts pixels from 1 and includes the last one; boxes become edges by taking 1 from xmin and ymin. Parts
    inside an object (head, hand, foot) are not objects.

    Args:
        root: folder with `Annotations`, `JPEGImages` and `ImageSets/Main`.
        image_set: name of the list of images in `ImageSets/Main`.
        folder: a folder below `root` that holds those three ("VOCdevkit/VOC2007").
        classes: class names in label order; an object of another class is an error. None takes the names found,
            in alphabetical order, from all annotations of the folder so that the splits agree.
        on_bad_box: drop boxes that enclose nothing, or raise.

    Raises:
        DataError: files are missing or malformed, an image is listed twice, or no object is left.
    """

    def __init__(
        self,
        root: Path | None,
        image_set: str,
        folder: str = "",
        classes: list[str] | None = None,
        on_bad_box: BadBoxes = "drop",
    ) -> None:
        self.folder = existing_folder(root, "the voc format") / folder
        self.source = existing_file(self.folder / "ImageSets" / "Main" / f"{image_set}.txt")
        self.report: dict[str, int] = {}
        ids = [line.split()[0] for line in self.source.read_text(encoding="utf-8").splitlines() if line.strip()]
        refuse_duplicates(ids, "images", self.source)
        roots = [
            _read_xml(path) for path in inside(self.folder / "Annotations", map("{}.xml".format, ids), self.source)
        ]
        self.class_names = classes or self._all_names()
        self.category_ids = list(range(1, len(self.class_names) + 1))
        self.ids = PackedSequence(ids)
        self.sizes = np.array([_size(ids[i], root_) for i, root_ in enumerate(roots)], np.int64).reshape(-1, 2)
        names = [_file_name(ids[index], root_) for index, root_ in enumerate(roots)]
        self.images = self.folder / "JPEGImages"
        refuse_missing(inside(self.images, names, self.source), self.source)
        self.names = PackedSequence(names)
        self._read_objects(ids, roots, on_bad_box)

    def _all_names(self) -> list[str]:
        found = {
            _text(node, "name", path.stem)
            for path in sorted((self.folder / "Annotations").glob("*.xml"))
            for node in _read_xml(path).findall("object")
        }
        return sorted(found)

    def _read_objects(self, ids: list[str], roots: list[Element], on_bad_box: BadBoxes) -> None:
        label = {name: index for index, name in enumerate(self.class_names)}
        found = [(i, node) for i, root in enumerate(roots) for node in root.findall("object")]
        if not found:
            raise DataError(f"{self.source}: no image of this set has an object")
        names = [_text(node, "name", ids[i]) for i, node in found]
        for (i, _), name in zip(found, names, strict=True):
            if name not in label:
                known = ", ".join(self.class_names)
                raise DataError(f"{ids[i]}.xml: unknown class {name!r}; data.classes has {known}"[:400])
        owner = np.array([i for i, _ in found], np.int64)
        boxes = np.array([_box(node, ids[i]) for i, node in found], np.float32).reshape(-1, 4)
        boxes, good = repair_boxes(boxes, self.sizes[owner], [ids[i] for i, _ in found], on_bad_box, self.report)
        boxes = boxes[good]
        self.columns = AnnotationTable(
            owner=owner[good],
            images=len(ids),
            boxes=boxes,
            labels=np.array([label[name] for name in names], np.int64)[good],
            crowd=np.zeros(len(boxes), bool),
            difficult=np.array([_flag(node, "difficult") for _, node in found])[good],
            area=(boxes[:, 2:] - boxes[:, :2]).prod(axis=1),
        )


def _read_xml(path: Path) -> Element:
    try:
        root: Any = defusedxml.ElementTree.parse(existing_file(path)).getroot()
    except ParseError as error:
        raise DataError(f"{path} is not well-formed XML: {error}") from error
    except DefusedXmlException as error:
        raise DataError(
            f"{path} defines entities, which no annotation needs; refused ({type(error).__name__})"
        ) from error
    return root


def _text(node: Element, key: str, image: str) -> str:
    text = node.findtext(key)
    if text is None or not text.strip():
        raise DataError(f"{image}.xml: <{node.tag}> lacks <{key}>")
    return text.strip()


def _number(node: Element, key: str, image: str) -> float:
    text = _text(node, key, image)
    try:
        return float(text)
    except ValueError as error:
        raise DataError(f"{image}.xml: <{key}> is {text!r}, not a number") from error


def _child(node: Element, key: str, image: str) -> Element:
    found = node.find(key)
    if found is None:
        raise DataError(f"{image}.xml: <{node.tag}> lacks <{key}>")
    return found


def _size(image: str, root: Element) -> tuple[int, int]:
    size = _child(root, "size", image)
    return int(_number(size, "height", image)), int(_number(size, "width", image))


def _file_name(image: str, root: Element) -> str:
    """The image's file: as the XML names it where that fits the XML's own name, else that name with .jpg."""
    named = (root.findtext("filename") or "").strip()
    return named if named and Path(named).stem == image else f"{image}.jpg"


def _box(node: Element, image: str) -> tuple[float, float, float, float]:
    """Edges of an object's own box; a `find` from the object does not descend into its parts."""
    box = _child(node, "bndbox", image)
    xmin, ymin, xmax, ymax = (_number(box, key, image) for key in ("xmin", "ymin", "xmax", "ymax"))
    # Without inverting: a box of zero size stays recognizable as one, and is dropped and counted.
    return xmin - (xmax > xmin), ymin - (ymax > ymin), xmax, ymax


def _flag(node: Element, key: str) -> bool:
    return (node.findtext(key) or "0").strip() == "1"
