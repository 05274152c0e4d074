"""The `via` format: JSON and CSV files of the VGG Image Annotator."""

from itertools import repeat
from pathlib import Path
from typing import Any

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.found_objects import FoundObject, FoundObjectsDataset
from visionkit.data.datasets.outlines import OtherShapePolicy
from visionkit.data.datasets.recognition import FolderListing, Recognized, files_with, main_image_folder, one_per_split
from visionkit.data.datasets.repair_boxes import BadBoxPolicy
from visionkit.data.datasets.via_files import READ, ViaImage, read_shape, read_via
from visionkit.data.io.bad_files import BadFilePolicy
from visionkit.data.io.json_files import garbage_collection_paused
from visionkit.data.io.paths import require_file, require_folder
from visionkit.errors import DataError
from visionkit.text import MAX_NAME, format_list, printable, shorten


def recognize_via(listing: FolderListing) -> Recognized | None:
    """Return the files of VIA, one for each split; JSON files before CSV files."""
    files = files_with(listing, ".json", '"shape_attributes"') + files_with(listing, ".csv", "region_shape_attributes")
    return one_per_split(listing, files, lambda name: {"annotations": name, "images": main_image_folder(listing, name)})


@formats.register("via", options_for={"masks": {"masks": True}}, recognize=recognize_via)
class Via(FoundObjectsDataset):
    """Images with the rectangles, polygons, circles and ellipses of a file of the VGG Image Annotator, JSON or CSV.

    Args:
        root: folder of the dataset.
        annotations: the file, relative to `root`.
        images: folder of the images, relative to `root`; None is the folder of the file.
        class_attribute: attribute of the regions that names the class. None takes the only attribute that has values.
        classes: classes to keep, in label order; objects of other classes are skipped and counted. None keeps all, in
            alphabetical order. If no region has an attribute, a single class here is that of all regions.
        masks: whether samples have instance masks, from polygons, circles and ellipses.
        other_shapes: raise an error for points and polylines, or skip and count them.
        on_bad_box: drop boxes without area, or raise; see `repair_boxes`.
        on_bad_file: raise an error for missing and unreadable images, or skip them.

    Raises:
        DataError: files are missing, a region is malformed, has no class or is of another kind, the class attribute
            is unclear, or no object remains.

    Example:
        >>> import json, tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from visionkit.data.datasets.via import Via
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (64, 48)).save(folder / "a.jpg")
        >>> shape = {"name": "rect", "x": 24, "y": 12, "width": 16, "height": 24}
        >>> region = {"shape_attributes": shape, "region_attributes": {"kind": "cat"}}
        >>> content = {"a.jpg632": {"filename": "a.jpg", "size": 632, "regions": [region]}}
        >>> _ = (folder / "via_region_data.json").write_text(json.dumps(content))
        >>> Via(folder)[0].annotation.boxes
        array([[24., 12., 40., 36.]], dtype=float32)
    """

    @garbage_collection_paused()
    def __init__(
        self,
        root: Path | None,
        annotations: str = "via_region_data.json",
        images: str | None = None,
        class_attribute: str | None = None,
        classes: list[str] | None = None,
        masks: bool = False,
        other_shapes: OtherShapePolicy = "raise",
        on_bad_box: BadBoxPolicy = "drop",
        on_bad_file: BadFilePolicy = "raise",
    ) -> None:
        self.folder = require_folder(root, "the via format")
        self.source = require_file(self.folder / annotations)
        self.report: dict[str, int] = {}
        listed = read_via(self.source)
        attribute = self._find_attribute(listed, class_attribute, classes)
        class_names = [self._class_names(image, attribute, classes) for image in listed]
        known = sorted({name for names in class_names for name in names if name is not None} | set(classes or ()))
        near = self.source.parent if images is None else self.folder / images
        names = self.find_names(self.folder, [image.name for image in listed], repeat(near))
        found = self.open_images(self.folder, names, on_bad_file)
        index = {name: position for position, name in enumerate(found.names)}
        objects: list[FoundObject] = []
        for name, image, of_regions in zip(names, listed, class_names, strict=True):
            if name in index:
                objects += self._read_image(index[name], image, of_regions, other_shapes)
        self.fill(found, self.drop_repeats(objects), known, classes, masks, on_bad_box)

    def _find_attribute(self, listed: list[ViaImage], requested: str | None, classes: list[str] | None) -> str | None:
        """Return the attribute that names the class; None if there is none, and all regions are of one class."""
        names = sorted(
            {key for image in listed for attributes in image.attributes() for key, value in attributes.items() if value}
        )
        if requested is not None and requested in names:
            return requested
        if requested is None and len(names) == 1:
            return names[0]
        if requested is None and not names and classes is not None and len(classes) == 1:
            return None
        if not names:
            raise DataError(
                f"{self.source}: no region has an attribute that could name its class\n"
                "if all regions are of one class, name it in the card: data.classes: [...]"
            )
        given = f"no attribute {requested!r}" if requested is not None else f"{len(names)} attributes of regions"
        listed_names = format_list([printable(name) for name in names])
        raise DataError(f"{self.source} has {given}; set class_attribute to the one that is the class: {listed_names}")

    def _class_names(self, image: ViaImage, attribute: str | None, classes: list[str] | None) -> list[str | None]:
        """Return the class of each region; None for shapes that are not read."""
        names: list[str | None] = []
        for index, (shape, attributes) in enumerate(zip(image.shapes(), image.attributes(), strict=True)):
            kind = shape.get("name")
            if not isinstance(kind, str):
                image.regions.fail(index, f"has a shape with the name {shorten(kind)}; it must be {', '.join(READ)}")
            if kind not in READ:
                names.append(None)
            elif attribute is None:
                names.append((classes or [""])[0])
            else:
                names.append(_class_name(image, index, attribute, attributes.get(attribute)))
        return names

    def _read_image(
        self, index: int, image: ViaImage, class_names: list[str | None], other_shapes: OtherShapePolicy
    ) -> list[FoundObject]:
        """Return the objects of an image."""
        objects = []
        for position, (shape, name) in enumerate(zip(image.shapes(), class_names, strict=True)):
            if name is None:
                self._refuse_or_count(image, position, printable(shape["name"]), other_shapes)
                continue
            place = f"{self.source} image {image.name[:MAX_NAME]!r} region {position}"
            box, polygons = read_shape(shape, place)
            objects.append(FoundObject(index, name, box, polygons, place))
        return objects

    def _refuse_or_count(self, image: ViaImage, position: int, kind: str, other_shapes: OtherShapePolicy) -> None:
        """Refuse or count a shape that is not read."""
        if other_shapes == "raise":
            image.regions.fail(
                position,
                f"is a {kind}; {', '.join(READ)} are read\n"
                "set other_shapes: skip in the split to leave such regions out",
            )
        self.count(f"shapes of other kinds skipped ({kind})", 1)


def _class_name(image: ViaImage, index: int, attribute: str, value: Any) -> str:
    """Return the class of a region: a text, or the only option of checkboxes that is set."""
    chosen = [key for key, is_set in value.items() if is_set] if isinstance(value, dict) else [value]
    if len(chosen) != 1 or not isinstance(chosen[0], str) or not chosen[0].strip():
        image.regions.fail(index, f"has the {printable(attribute)} {shorten(value)}; it must be one class")
    return str(chosen[0]).strip()
