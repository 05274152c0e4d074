"""Writing the `cvat` format: an XML file per split, "CVAT for images 1.1"."""

from collections import Counter
from pathlib import Path
from typing import Any, TextIO
from xml.etree.ElementTree import Element, SubElement, indent, tostring

import numpy as np
from pycocotools import mask as rle

from visionkit.data.export.base import DatasetWriter, ExportClasses, ExportImage, writers
from visionkit.data.export.outlines import outline
from visionkit.ops.palette import class_color
from visionkit.structures import Rle

FILE_NAME = "annotations.xml"


@writers.register("cvat")
class CvatWriter(DatasetWriter):
    """Writes a folder per split with `annotations.xml` and `images`, each for a task of CVAT.

    A mask is a polygon if it has one part without holes, and a mask otherwise. A score is the attribute `score`.
    """

    format = "cvat"
    holds = frozenset({"objects", "masks", "holes", "parts", "thin boxes"})

    def __init__(self, folder: Path, classes: ExportClasses, with_scores: bool = False) -> None:
        super().__init__(folder, classes, with_scores)
        self._files: dict[str, TextIO] = {}
        self._counts = Counter[str]()

    def image_folder(self, split: str) -> str:
        """See `DatasetWriter`."""
        return f"{split}/images"

    def write(self, image: ExportImage) -> None:
        """See `DatasetWriter`."""
        height, width = image.size
        file = self._file(image)
        self._counts[image.split] += 1
        frame = str(self._counts[image.split] - 1)
        node = Element("image", {"id": frame, "name": image.name, "width": str(width), "height": str(height)})
        for index in self.kept(image.annotation):
            node.append(self._shape(image, index))
        file.write(_text(node))

    def finish(self) -> None:
        """See `DatasetWriter`."""
        for file in self._files.values():
            file.write("</annotations>\n")

    def close(self) -> None:
        """See `DatasetWriter`."""
        for file in self._files.values():
            file.close()

    def split_options(self, split: str) -> dict[str, Any]:
        """See `DatasetWriter`."""
        return {"annotations": f"{split}/{FILE_NAME}", "images": self.image_folder(split)}

    def _file(self, image: ExportImage) -> TextIO:
        if image.split not in self._files:
            file = (self.folder / image.split / FILE_NAME).open("w", encoding="utf-8")
            self._files[image.split] = file
            file.write('<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n')
            file.write(_text(self._meta(image)))
        return self._files[image.split]

    def _meta(self, image: ExportImage) -> Element:
        """Return the description of the task, with the labels and their attributes."""
        meta = Element("meta")
        task = SubElement(meta, "task")
        SubElement(task, "name").text = image.split
        labels = SubElement(task, "labels")
        for index, name in enumerate(self.classes.names):
            label = SubElement(labels, "label")
            SubElement(label, "name").text = name
            SubElement(label, "color").text = "#{:02x}{:02x}{:02x}".format(*class_color(index))
            SubElement(label, "type").text = "any"
            attributes = SubElement(label, "attributes")
            if image.scores is not None:
                _add_score(attributes)
        return meta

    def _shape(self, image: ExportImage, index: int) -> Element:
        found = image.annotation
        is_outlined = found.masks is not None and image.outlined(index)
        node = _mask(found.masks[index]) if is_outlined and found.masks else _box(found.boxes[index].tolist())
        node.attrib = {
            "label": self.classes.names[int(found.labels[index])],
            "source": "manual" if image.scores is None else "auto",
            "occluded": "0",
            **node.attrib,
            "z_order": "0",
        }
        if image.scores is not None:
            SubElement(node, "attribute", {"name": "score"}).text = f"{image.scores[index]:.4f}"
        return node


def _add_score(attributes: Element) -> None:
    """Declare the attribute of scores, without which CVAT drops them."""
    attribute = SubElement(attributes, "attribute")
    values = {"name": "score", "mutable": "False", "input_type": "text", "default_value": "", "values": ""}
    for key, value in values.items():
        SubElement(attribute, key).text = value


def _text(node: Element) -> str:
    indent(node)
    return tostring(node, encoding="unicode") + "\n"


def _box(corners: list[float]) -> Element:
    return Element("box", {key: f"{x:.4f}" for key, x in zip(("xtl", "ytl", "xbr", "ybr"), corners, strict=True)})


def _mask(mask: Rle) -> Element:
    """Return a polygon, or for a mask with holes or of several parts the run lengths of its rows."""
    parts, holes = outline(mask)
    if len(parts) == 1 and not holes:
        return Element("polygon", {"points": ";".join(f"{x},{y}" for x, y in parts[0].tolist())})
    left, top, width, height = map(int, rle.toBbox(mask))
    pixels = rle.decode(mask)[top : top + height, left : left + width].ravel()
    edges = np.flatnonzero(np.diff(pixels, prepend=0))
    runs = np.diff(edges, prepend=0, append=pixels.size).tolist()
    sides = {"left": left, "top": top, "width": width, "height": height}
    return Element("mask", {"rle": ", ".join(map(str, runs)), **{key: str(side) for key, side in sides.items()}})
