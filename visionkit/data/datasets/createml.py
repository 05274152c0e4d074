"""The `createml` format: boxes in the JSON files of Apple's Create ML, as Roboflow and LabelImg write them, too."""

from pathlib import Path
from typing import NamedTuple

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.found_objects import Box, FoundObject, FoundObjectsDataset
from visionkit.data.datasets.json_entries import JsonEntries
from visionkit.data.datasets.outlines import finite
from visionkit.data.datasets.recognition import (
    FolderListing,
    Recognized,
    by_split,
    files_with,
    main_image_folder,
    one_per_split,
    parent_of,
)
from visionkit.data.datasets.repair_boxes import BadBoxPolicy
from visionkit.data.io.bad_files import BadFilePolicy
from visionkit.data.io.json_files import garbage_collection_paused, read_json
from visionkit.data.io.paths import require_existing, require_folder
from visionkit.errors import DataError
from visionkit.text import MAX_NAME

KEYS, APPLE_KEYS = ("image", "annotations"), ("imagefilename", "annotation")
"""Keys of an image's name and objects: as most programs write them, and as in Apple's documentation."""

COORDINATES = ("x", "y", "width", "height")


class CreatemlImage(NamedTuple):
    """An image: its file name, the folder of the JSON file, and label, box and place of each object."""

    name: str
    folder: Path
    objects: list[tuple[str, Box, str]]


def recognize_createml(listing: FolderListing) -> Recognized | None:
    """Return the files of Create ML, one for each split, or a folder with a file for each image."""
    files = files_with(listing, ".json", '"coordinates"', '"label"')
    folders = sorted({parent_of(name) for name in files})
    names = folders if len(files) > len(by_split(files)) else files
    return one_per_split(listing, names, lambda name: {"annotations": name, "images": main_image_folder(listing, name)})


@formats.register("createml", recognize=recognize_createml)
class Createml(FoundObjectsDataset):
    """Images with the boxes of a JSON file of Create ML, or of all JSON files in a folder.

    A box has its center, width and height in pixels.

    Args:
        root: folder of the dataset.
        annotations: the file, or a folder of files, which are found at any depth; relative to `root`.
        images: folder of the images, relative to `root`; None searches beside each JSON file.
        classes: classes to keep, in label order; objects of other classes are skipped and counted. None keeps all, in
            alphabetical order.
        on_bad_box: drop boxes without area, or raise; see `repair_boxes`.
        on_bad_file: raise an error for missing and unreadable images, or skip them.

    Raises:
        DataError: files are missing, an annotation is malformed, or no object remains.

    Example:
        >>> import json, tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from visionkit.data.datasets.createml import Createml
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (64, 48)).save(folder / "a.jpg")
        >>> found = {"label": "cat", "coordinates": {"x": 32, "y": 24, "width": 16, "height": 24}}
        >>> content = [{"image": "a.jpg", "annotations": [found]}]
        >>> _ = (folder / "_annotations.createml.json").write_text(json.dumps(content))
        >>> Createml(folder)[0].annotation.boxes
        array([[24., 12., 40., 36.]], dtype=float32)
    """

    @garbage_collection_paused()
    def __init__(
        self,
        root: Path | None,
        annotations: str = "_annotations.createml.json",
        images: str | None = None,
        classes: list[str] | None = None,
        on_bad_box: BadBoxPolicy = "drop",
        on_bad_file: BadFilePolicy = "raise",
    ) -> None:
        self.folder = require_folder(root, "the createml format")
        self.source = require_existing(self.folder / annotations)
        self.report: dict[str, int] = {}
        listed = [image for path in self.list_annotation_files(".json") for image in _read(path)]
        nears = [image.folder if images is None else self.folder / images for image in listed]
        names = self.find_names(self.folder, [image.name for image in listed], nears)
        found = self.open_images(self.folder, names, on_bad_file)
        index = {name: position for position, name in enumerate(found.names)}
        objects = [
            FoundObject(index[name], label, box, place=place)
            for name, image in zip(names, listed, strict=True)
            if name in index
            for label, box, place in image.objects
        ]
        known = sorted({label for image in listed for label, _, _ in image.objects} | set(classes or ()))
        self.fill(found, self.drop_repeats(objects), known, classes, False, on_bad_box)


def _read(path: Path) -> list[CreatemlImage]:
    """Return the images of a JSON file."""
    entries = JsonEntries(read_json(path), "the images", "image", path)
    name_key, objects_key = APPLE_KEYS if any(APPLE_KEYS[0] in entry for entry in entries.entries) else KEYS
    names = entries.texts(name_key)
    annotations = entries.column(objects_key, {list}, "a list")
    return [
        CreatemlImage(name, path.parent, _objects(path, name, of_image))
        for name, of_image in zip(names, annotations, strict=True)
    ]


def _objects(path: Path, name: str, annotations: list[object]) -> list[tuple[str, Box, str]]:
    """Return label, box and place of the objects of an image."""
    image = f"{name[:MAX_NAME]!r}"
    entries = JsonEntries(annotations, f"the annotations of {image}", "annotation", path)
    columns = entries.texts("label"), entries.column("coordinates", {dict}, "an object")
    objects = []
    for index, (label, coordinates) in enumerate(zip(*columns, strict=True)):
        place = f"{path} image {image} annotation {index}"
        missing = [key for key in COORDINATES if key not in coordinates]
        if missing:
            raise DataError(f"{place} has no {' and no '.join(missing)} in its coordinates")
        x, y, width, height = finite([coordinates[key] for key in COORDINATES], place)
        objects.append((label, (x - width / 2, y - height / 2, x + width / 2, y + height / 2), place))
    return objects
