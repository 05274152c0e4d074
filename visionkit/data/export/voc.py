"""Writing the `voc` format: an XML file per image, and lists of images."""

from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, ElementTree, SubElement, indent

from visionkit.data.datasets.voc import ANNOTATIONS, IMAGE_SETS, IMAGES
from visionkit.data.export.base import DatasetWriter, ExportClasses, ExportImage, writers

LABEL_MAP = "labelmap.txt"
"""List of the classes, of which VOC itself has none: CVAT and Datumaro refuse other classes than VOC's without it."""

DECIMALS = 3
"""Decimals of pixels; whole numbers have none."""


@writers.register("voc")
class VocWriter(DatasetWriter):
    """Writes `Annotations`, `JPEGImages` and `ImageSets/Main`, with corners that count from 1 and are inclusive."""

    format = "voc"
    holds = frozenset({"objects", "boxes beside masks", "difficult"})
    spaces_in_names = False
    has_split_folders = False

    def __init__(self, folder: Path, classes: ExportClasses, with_scores: bool = False) -> None:
        super().__init__(folder, classes, with_scores)
        self._stems: dict[str, list[str]] = {}
        (folder / ANNOTATIONS).mkdir()
        (folder / IMAGE_SETS).mkdir(parents=True)

    def image_folder(self, split: str) -> str:
        """See `DatasetWriter`; all splits have one folder."""
        return IMAGES

    def write(self, image: ExportImage) -> None:
        """See `DatasetWriter`."""
        self._stems.setdefault(image.split, []).append(image.stem)
        root = _head(image)
        for index in self.kept(image.annotation):
            root.append(self._object(image, index))
        indent(root)
        ElementTree(root).write(self.folder / ANNOTATIONS / f"{image.stem}.xml", encoding="utf-8")

    def finish(self) -> None:
        """See `DatasetWriter`."""
        for split, stems in self._stems.items():
            path = self.folder / IMAGE_SETS / f"{split}.txt"
            path.write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8")
        lines = ["# label:color_rgb:parts:actions", *(f"{name}:::" for name in self.classes.names)]
        (self.folder / LABEL_MAP).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def split_options(self, split: str) -> dict[str, Any]:
        """See `DatasetWriter`."""
        return {"image_set": split}

    def card_options(self) -> dict[str, Any]:
        """Return the classes, of which VOC has no list."""
        return {"classes": self.classes.names}

    def _object(self, image: ExportImage, index: int) -> Element:
        found = image.annotation
        node = Element("object")
        values = {
            "name": self.classes.names[int(found.labels[index])],
            "pose": "Unspecified",
            "truncated": "0",
            "difficult": str(int(found.difficult[index])),
        }
        for key, value in values.items():
            SubElement(node, key).text = value
        x1, y1, x2, y2 = found.boxes[index].tolist()
        corners = {"xmin": x1 + 1, "ymin": y1 + 1, "xmax": max(x2, x1 + 1), "ymax": max(y2, y1 + 1)}
        box = SubElement(node, "bndbox")
        for key, number in corners.items():
            SubElement(box, key).text = f"{number:.{DECIMALS}f}".rstrip("0").rstrip(".")
        return node


def _head(image: ExportImage) -> Element:
    """Return an annotation without objects."""
    root = Element("annotation")
    SubElement(root, "folder").text = IMAGES
    SubElement(root, "filename").text = image.name
    size = SubElement(root, "size")
    for key, value in zip(("width", "height", "depth"), (*image.size[::-1], 3), strict=True):
        SubElement(size, key).text = str(value)
    SubElement(root, "segmented").text = "0"
    return root
