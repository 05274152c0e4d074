"""The `cvat` format: one XML file for all images, as CVAT exports it under the name "CVAT for images 1.1"."""

import re
from itertools import repeat
from pathlib import Path
from xml.etree.ElementTree import Element

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.cvat_shapes import READ, RotatedBoxPolicy, read_shape
from visionkit.data.datasets.found_objects import (
    FoundImages,
    FoundObject,
    FoundObjectsDataset,
    check_stated_size,
)
from visionkit.data.datasets.outlines import OtherShapePolicy
from visionkit.data.datasets.recognition import (
    FolderListing,
    Recognized,
    by_split,
    files_with,
    main_image_folder,
    one_per_split,
)
from visionkit.data.datasets.repair_boxes import BadBoxPolicy
from visionkit.data.io.bad_files import BadFilePolicy
from visionkit.data.io.json_files import garbage_collection_paused
from visionkit.data.io.paths import read_bytes, require_file, require_folder
from visionkit.data.io.xml_files import read_xml
from visionkit.errors import DataError
from visionkit.text import MAX_NAME, format_list, printable

SUBSET = re.compile(r'\bsubset="([^"]+)"')

META = ("meta/task", "meta/job", "meta/project")
"""What was exported; each has the list of labels."""

TYPES_WITHOUT_AREA = ("points", "polyline", "cuboid", "skeleton", "tag")
"""Types of labels that no shape that is read can have."""


def recognize_cvat(listing: FolderListing) -> Recognized | None:
    """Return the files of CVAT for images, one for each split, or the subsets of a single file."""
    files = files_with(listing, ".xml", "<annotations>", "<image ")
    if len(files) == 1:
        subsets = _subsets(listing.folder / files[0])
        splits = {split: names[0] for split, names in by_split(subsets).items()} if len(subsets) > 1 else {}
        if splits:
            options = {"annotations": files[0], "images": main_image_folder(listing, "")}
            return Recognized({split: {**options, "subset": subset} for split, subset in splits.items()})
    return one_per_split(listing, files, lambda name: {"annotations": name, "images": main_image_folder(listing, name)})


def _subsets(path: Path) -> list[str]:
    """Return the names of the subsets that images of a file belong to."""
    text = read_bytes(path, "annotation file").decode(errors="replace")
    elements = re.findall(r"<image ([^<]*)", text)
    return sorted({found[1] for element in elements if (found := SUBSET.search(element))})


@formats.register("cvat", options_for={"masks": {"masks": True}}, recognize=recognize_cvat)
class Cvat(FoundObjectsDataset):
    """Images with the boxes, polygons, ellipses and masks of an XML file of CVAT ("CVAT for images").

    Attributes of shapes, groups, `occluded` and `z_order` are ignored. Tags of whole images are skipped and counted.

    Args:
        root: folder of the dataset.
        annotations: the XML file, relative to `root`.
        images: folder of the images, relative to `root`; they may also be in a folder per subset in it.
        subset: subset whose images are read; None reads all.
        classes: classes to keep, in label order; objects of other classes are skipped and counted. None keeps the
            labels of the file that can have boxes or areas, in its order. If it lists no labels, those of the shapes
            are taken in alphabetical order.
        masks: whether samples have instance masks, from polygons, ellipses and masks.
        other_shapes: raise an error for polylines, points, cuboids and skeletons, or skip and count them.
        rotated_boxes: raise an error for rotated boxes, or take the upright box around each (`hull`).
        on_bad_box: drop boxes without area, or raise; see `repair_boxes`.
        on_bad_file: raise an error for missing and unreadable images, or skip them.

    Raises:
        DataError: files are missing, a shape is malformed or of another kind, or no object remains.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from visionkit.data.datasets.cvat import Cvat
        >>> folder = Path(tempfile.mkdtemp())
        >>> (folder / "images").mkdir()
        >>> Image.new("RGB", (64, 48)).save(folder / "images" / "a.jpg")
        >>> box = '<box label="cat" xtl="24" ytl="12" xbr="40" ybr="36"/>'
        >>> xml = f'<annotations><image name="a.jpg" width="64" height="48">{box}</image></annotations>'
        >>> _ = (folder / "annotations.xml").write_text(xml)
        >>> Cvat(folder)[0].annotation.boxes
        array([[24., 12., 40., 36.]], dtype=float32)
    """

    @garbage_collection_paused()
    def __init__(
        self,
        root: Path | None,
        annotations: str = "annotations.xml",
        images: str = "images",
        subset: str | None = None,
        classes: list[str] | None = None,
        masks: bool = False,
        other_shapes: OtherShapePolicy = "raise",
        rotated_boxes: RotatedBoxPolicy = "raise",
        on_bad_box: BadBoxPolicy = "drop",
        on_bad_file: BadFilePolicy = "raise",
    ) -> None:
        self.folder = require_folder(root, "the cvat format")
        self.source = require_file(self.folder / annotations)
        self.report: dict[str, int] = {}
        self.other_shapes, self.rotated_boxes = other_shapes, rotated_boxes
        tree = self._read_tree()
        known = _labels(tree) or sorted(_labels_of_shapes(tree) | set(classes or ()))
        nodes = self._select(tree, subset)
        found, nodes = self._open_images(nodes, self.folder / images, on_bad_file)
        objects = [shape for index, node in enumerate(nodes) for shape in self._read_image(found, index, node)]
        self.fill(found, self.drop_repeats(objects), known, classes, masks, on_bad_box)

    def _read_tree(self) -> Element:
        tree = read_xml(self.source)
        if tree.tag != "annotations":
            raise DataError(f"{self.source} has the root element <{printable(tree.tag)}>; CVAT's is <annotations>")
        if tree.find("track") is not None:
            raise DataError(f'{self.source} is a "CVAT for video" file; export the task as "CVAT for images 1.1"')
        return tree

    def _select(self, tree: Element, subset: str | None) -> list[Element]:
        """Return the images of a subset. CVAT writes the subset of each image, or that of all images once."""
        nodes = tree.findall("image")
        for position, node in enumerate(nodes):
            if not node.get("name", "").strip():
                raise DataError(f"{self.source}: image {position} has no name")
        if subset is None:
            return nodes
        common = next((tree.findtext(f"{place}/subset") for place in META if tree.find(place) is not None), None)
        subsets = [node.get("subset") or common or "" for node in nodes]
        if subset not in subsets:
            listed = format_list([printable(name) for name in sorted(set(subsets) - {""})])
            raise DataError(f"{self.source} has no images of the subset {subset!r}; it has {listed or 'no subsets'}")
        return [node for node, name in zip(nodes, subsets, strict=True) if name == subset]

    def _open_images(
        self, nodes: list[Element], near: Path, on_bad_file: BadFilePolicy
    ) -> tuple[FoundImages, list[Element]]:
        """Return the images, and their elements."""
        paths = ["/".join(filter(None, (node.get("subset"), node.get("name")))) for node in nodes]
        names = self.find_names(self.folder, paths, repeat(near))
        found = self.open_images(self.folder, names, on_bad_file)
        opened = set(found.names)
        return found, [node for node, name in zip(nodes, names, strict=True) if name in opened]

    def _read_image(self, images: FoundImages, index: int, node: Element) -> list[FoundObject]:
        """Return the objects of an image."""
        image = f"{self.source} image {node.get('name', '')[:MAX_NAME]!r}"
        self._check_size(images, index, node, image)
        objects = []
        for position, shape in enumerate(node):
            place = f"{image} {printable(shape.tag)} (element {position})"
            if shape.tag in READ:
                label = _label(shape, place)
                read = read_shape(shape, images.sizes[index], place, self.rotated_boxes)
                objects.append(FoundObject(index, label, read.box, read.polygons, place, runs=read.runs))
            else:
                self._refuse_or_count(shape, place)
        return objects

    def _check_size(self, images: FoundImages, index: int, node: Element, place: str) -> None:
        texts = node.get("height"), node.get("width")
        if texts == (None, None):
            return
        height, width = (text or "" for text in texts)
        if not all(text.isascii() and text.isdecimal() and len(text) < 10 for text in (height, width)):
            raise DataError(f"{place} has the height {height[:40]!r} and width {width[:40]!r}; they must be integers")
        check_stated_size(images, index, (int(height), int(width)), place)

    def _refuse_or_count(self, shape: Element, place: str) -> None:
        """Refuse or count a shape that is not read."""
        if shape.tag == "tag":
            self.count("tags of images skipped", 1)
        elif self.other_shapes == "skip":
            self.count(f"shapes of other kinds skipped ({printable(shape.tag)})", 1)
        else:
            raise DataError(
                f"{place} is not read; {', '.join(READ)} are\n"
                "set other_shapes: skip in the split to leave such shapes out"
            )


def _label(node: Element, place: str) -> str:
    label = node.get("label", "")
    if not label.strip():
        raise DataError(f"{place} has no label")
    return label.strip()


def _labels(tree: Element) -> list[str]:
    """Return the labels that the file lists, without the points of skeletons; empty if it lists none."""
    nodes = [node for place in META for node in tree.findall(f"{place}/labels/label")]
    usable = [node for node in nodes if node.find("parent") is None and node.findtext("type") not in TYPES_WITHOUT_AREA]
    names = [(node.findtext("name") or "").strip() for node in usable]
    return list(dict.fromkeys(filter(None, names)))


def _labels_of_shapes(tree: Element) -> set[str]:
    shapes = (shape for image in tree.findall("image") for shape in image if shape.tag in READ)
    return {shape.get("label", "").strip() for shape in shapes} - {""}
