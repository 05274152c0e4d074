"""The `labelme` format: one JSON file per image, as LabelMe and programs with its format write it."""

import os
from pathlib import Path

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.found_objects import (
    FoundImages,
    FoundObject,
    FoundObjectsDataset,
    box_of,
    check_stated_size,
)
from visionkit.data.datasets.labelme_files import NO_CLASSES, READ, LabelmeFile, LabelmeShape, read_labelme
from visionkit.data.datasets.outlines import OtherShapePolicy
from visionkit.data.datasets.recognition import FolderListing, Recognized, files_with, folders_of, one_per_split
from visionkit.data.datasets.repair_boxes import BadBoxPolicy
from visionkit.data.io.bad_files import BadFilePolicy
from visionkit.data.io.image_files import SUFFIXES
from visionkit.data.io.json_files import garbage_collection_paused
from visionkit.data.io.paths import (
    check_unique,
    read_text,
    require_existing,
    require_file,
    require_folder,
    resolve_inside,
)
from visionkit.errors import DataError
from visionkit.text import MAX_NAME, printable

LABELS_FILE = "labels.txt"


def recognize_labelme(listing: FolderListing) -> Recognized | None:
    """Return the folders of LabelMe's JSON files, one for each split."""
    files = files_with(listing, ".json", '"shapes"', '"shape_type"')
    return one_per_split(listing, folders_of(files), lambda folder: {"annotations": folder})


@formats.register("labelme", options_for={"masks": {"masks": True}}, recognize=recognize_labelme)
class Labelme(FoundObjectsDataset):
    r"""Images with the rectangles, polygons and circles of their JSON files of LabelMe.

    Polygons and circles with the same `group_id` and label in an image are one object. Flags are ignored, and so are
    shapes labeled `__ignore__` or `_background_`, which are counted.

    Args:
        root: folder of the dataset.
        annotations: folder of the JSON files, which are found at any depth, or one file; relative to `root`.
        images: folder of the images, relative to `root`; None searches beside each JSON file.
        list_file: text file with the name of a JSON file or image per line, with or without its ending, relative to
            `annotations`; the path of the text file is relative to `root`. None takes all JSON files.
        labels: file with a class per line, relative to `root`. None takes `labels.txt` in `root` or in `annotations`;
            if there is none, the classes are the labels of all JSON files in `annotations` in alphabetical order.
        classes: classes to keep, in label order; objects of other classes are skipped and counted. None keeps all.
        masks: whether samples have instance masks, from the polygons.
        other_shapes: raise an error for points, lines, masks and other shapes, or skip and count them.
        on_bad_box: drop boxes without area, or raise; see `repair_boxes`.
        on_bad_file: raise an error for missing and unreadable images, or skip them.

    Raises:
        DataError: files are missing, a shape is malformed or of another kind, or no object remains.

    Example:
        >>> import json, tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from visionkit.data.datasets.labelme import Labelme
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (64, 48)).save(folder / "a.jpg")
        >>> shape = {"label": "cat", "shape_type": "rectangle", "points": [[40, 36], [24, 12]]}
        >>> _ = (folder / "a.json").write_text(json.dumps({"shapes": [shape], "imagePath": "a.jpg"}))
        >>> Labelme(folder)[0].annotation.boxes
        array([[24., 12., 40., 36.]], dtype=float32)
    """

    @garbage_collection_paused()
    def __init__(
        self,
        root: Path | None,
        annotations: str = "",
        images: str | None = None,
        list_file: str | None = None,
        labels: str | None = None,
        classes: list[str] | None = None,
        masks: bool = False,
        other_shapes: OtherShapePolicy = "raise",
        on_bad_box: BadBoxPolicy = "drop",
        on_bad_file: BadFilePolicy = "raise",
    ) -> None:
        self.folder = require_folder(root, "the labelme format")
        self.source = require_existing(self.folder / annotations)
        self.report: dict[str, int] = {}
        paths = self.list_annotation_files(".json")
        names = self._read_classes(labels)
        listed = paths if list_file is None else self._of_list(self.folder / list_file, paths)
        files = [read_labelme(path) for path in listed]
        if names is None:
            others = [read_labelme(path) for path in sorted(set(paths) - set(listed))]
            names = sorted(set().union(*(file.labels() for file in [*files, *others]), classes or ()))
        found, files = self._open_images(files, images, on_bad_file)
        objects = self._read_objects(found, files, other_shapes)
        self.fill(found, self.drop_repeats(objects), names, classes, masks, on_bad_box)

    def _read_classes(self, labels: str | None) -> list[str] | None:
        """Return the classes of `labels.txt`; None if there is none."""
        places = [self.folder / LABELS_FILE, self.source / LABELS_FILE]
        path = next((path for path in places if path.is_file()), None)
        if labels is not None:
            path = require_file(self.folder / labels)
        if path is None:
            return None
        lines = [line.strip() for line in read_text(path).splitlines()]
        return list(dict.fromkeys(line for line in lines if line and line not in NO_CLASSES))

    def _of_list(self, list_file: Path, paths: list[Path]) -> list[Path]:
        """Return the JSON files that a list names, in its order."""
        folder = self.source if self.source.is_dir() else self.source.parent
        by_name = {str(path.relative_to(folder).with_suffix("")): path for path in paths}
        lines = [line.strip() for line in read_text(list_file).splitlines() if line.strip()]
        resolve_inside(folder, lines, list_file)
        chosen = []
        for line in lines:
            name, ending = os.path.splitext(os.path.normpath(line))
            name = name if ending.lower() in (".json", *SUFFIXES) else name + ending
            if name not in by_name:
                raise DataError(f"{list_file}: {printable(line)} has no JSON file in {folder}")
            chosen.append(by_name[name])
        check_unique(chosen, "files", list_file)
        return chosen

    def _open_images(
        self, files: list[LabelmeFile], images: str | None, on_bad_file: BadFilePolicy
    ) -> tuple[FoundImages, list[LabelmeFile]]:
        """Return the images, and their JSON files."""
        nears = [file.path.parent if images is None else self.folder / images for file in files]
        names = self.find_names(self.folder, [file.image for file in files], nears)
        if on_bad_file == "raise":
            for file, name in zip(files, names, strict=True):
                if file.has_image_data and not os.path.exists(self.folder / name):
                    raise DataError(
                        f"{file.path}: its image {printable(name)} does not exist as a file\n"
                        "give the folder of the images as images=..., or save the image that the JSON file contains "
                        "(imageData) as a file"
                    )
        found = self.open_images(self.folder, names, on_bad_file)
        opened = set(found.names)
        return found, [file for file, name in zip(files, names, strict=True) if name in opened]

    def _read_objects(
        self, images: FoundImages, files: list[LabelmeFile], other_shapes: OtherShapePolicy
    ) -> list[FoundObject]:
        objects: list[FoundObject] = []
        for index, file in enumerate(files):
            if file.size is not None:
                check_stated_size(images, index, file.size, str(file.path))
            which = self._select(file, other_shapes)
            objects += _merge_groups(index, file.read_shapes(which))
        return objects

    def _select(self, file: LabelmeFile, other_shapes: OtherShapePolicy) -> list[int]:
        """Return the indices of the shapes to read. Those of other kinds are refused, or counted."""
        labels = file.shapes.texts("label")
        which = []
        for index, (label, kind) in enumerate(zip(labels, file.kinds(), strict=True)):
            if label in NO_CLASSES:
                self.count(f"shapes labeled {label} skipped", 1)
            elif kind in READ:
                which.append(index)
            elif other_shapes == "raise":
                file.shapes.fail(
                    index,
                    f"is of the shape_type {kind[:MAX_NAME]!r}; {', '.join(READ)} are read\n"
                    "set other_shapes: skip in the split to leave such shapes out",
                )
            else:
                self.count(f"shapes of other kinds skipped ({printable(kind)})", 1)
        return which


def _merge_groups(image: int, shapes: list[LabelmeShape]) -> list[FoundObject]:
    """Return the objects of an image. Outlines of the same group and label are one object."""
    merged: dict[object, LabelmeShape] = {}
    for position, shape in enumerate(shapes):
        is_grouped = shape.group is not None and bool(shape.polygons)
        key = (shape.group, shape.label) if is_grouped else position
        if key in merged:
            polygons = merged[key].polygons + shape.polygons
            shape = merged[key]._replace(polygons=polygons, box=box_of(polygons))
        merged[key] = shape
    return [FoundObject(image, shape.label, shape.box, shape.polygons, shape.place) for shape in merged.values()]
