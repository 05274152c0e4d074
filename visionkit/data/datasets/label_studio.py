"""The `label_studio` format: the exports JSON and JSON-MIN of Label Studio."""

import re
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.found_objects import FoundObject, FoundObjectsDataset, check_stated_size
from visionkit.data.datasets.label_studio_shapes import SHAPES, Shape, read_shape
from visionkit.data.datasets.label_studio_tasks import Result, Task, read_tasks
from visionkit.data.datasets.outlines import OtherShapePolicy
from visionkit.data.datasets.recognition import FolderListing, Recognized, files_with, main_image_folder, one_per_split
from visionkit.data.datasets.repair_boxes import BadBoxPolicy
from visionkit.data.io.bad_files import BadFilePolicy
from visionkit.data.io.csv_rows import read_csv_pairs
from visionkit.data.io.image_index import ImageIndex
from visionkit.data.io.json_files import garbage_collection_paused
from visionkit.data.io.paths import require_file, require_folder
from visionkit.errors import DataError
from visionkit.text import shorten

RotatedBoxPolicy = Literal["raise", "hull"]
"""What to do with rotated rectangles: raise DataError, or take the box around them, and their corners as polygon."""

UPLOAD_PREFIX = re.compile(r"^[0-9a-f]{8}-")
"""What Label Studio puts before the names of uploaded files."""

LOCAL_FILES = "/local-files/"
"""End of the URLs of files on the server, which are in the query: `/data/local-files/?d=folder/a.jpg`."""

LONGEST_NAME = 200


def recognize_label_studio(listing: FolderListing) -> Recognized | None:
    """Return the exports of Label Studio, one for each split."""
    files = files_with(listing, ".json", '"original_width"', '"original_height"')
    return one_per_split(listing, files, lambda name: {"annotations": name, "images": main_image_folder(listing, name)})


@formats.register("label_studio", options_for={"masks": {"masks": True}}, recognize=recognize_label_studio)
class LabelStudio(FoundObjectsDataset):
    """Images with the rectangles, polygons, ellipses and brushes of an export of Label Studio.

    An image is found by the base name of its URL or path, with and without the prefix of uploads. Of several
    annotations of a task, the newest that is not cancelled counts. Tasks without annotation are left out and counted;
    an annotation without results is an image without objects.

    Args:
        root: folder of the dataset.
        annotations: the export, relative to `root`.
        images: folder of the images at any depth, relative to `root`.
        image_list: CSV file, relative to `root`, with a URL and a file in `images` per line and no header, for images
            whose URLs do not have their names. The query of a URL (`?Expires=...`) may be left out.
        image_key: key of the image in the data of a task.
        classes: classes to keep, in label order; objects of other classes are skipped and counted. None keeps all, in
            alphabetical order.
        masks: whether samples have instance masks.
        rotated_boxes: refuse rotated rectangles (raise), or take the boxes around them (hull).
        other_shapes: refuse results of other types, such as keypoints (raise), or skip and count them (skip).
        on_bad_box: drop boxes without area, or raise; see `repair_boxes`.
        on_bad_file: raise an error for missing and unreadable images, or skip them.

    Raises:
        DataError: files are missing, a task is malformed, an image has another size than its results say, or no object
            remains.

    Example:
        >>> import json, tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from visionkit.data.datasets.label_studio import LabelStudio
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (64, 48)).save(folder / "a.jpg")
        >>> value = {"x": 25, "y": 50, "width": 50, "height": 25, "rectanglelabels": ["cat"]}
        >>> result = [{"type": "rectanglelabels", "value": value}]
        >>> task = {"data": {"image": "/data/upload/1/0123abcd-a.jpg"}, "annotations": [{"result": result}]}
        >>> _ = (folder / "export.json").write_text(json.dumps([task]))
        >>> LabelStudio(folder, "export.json")[0].annotation.boxes
        array([[16., 24., 48., 36.]], dtype=float32)
    """

    @garbage_collection_paused()
    def __init__(
        self,
        root: Path | None,
        annotations: str,
        images: str = "",
        image_list: str | None = None,
        image_key: str = "image",
        classes: list[str] | None = None,
        masks: bool = False,
        rotated_boxes: RotatedBoxPolicy = "raise",
        other_shapes: OtherShapePolicy = "raise",
        on_bad_box: BadBoxPolicy = "drop",
        on_bad_file: BadFilePolicy = "raise",
    ) -> None:
        folder = require_folder(root, "the label_studio format")
        self.source, self.report = require_file(folder / annotations), {}
        self._rotated_boxes, self._other_shapes = rotated_boxes, other_shapes
        tasks = read_tasks(self.source, image_key, self.report)
        listed = {} if image_list is None else _read_image_list(require_file(folder / image_list))
        names = self._image_names(tasks, ImageIndex(require_folder(folder / images, "label_studio")), listed)
        found = self.open_images(folder / images, names, on_bad_file)
        by_name = dict(zip(names, tasks, strict=True))
        kept = [by_name[name] for name in found.names]
        for index, task in enumerate(kept):
            for size in {result.size for result in task.results if result.size is not None}:
                check_stated_size(found, index, size, task.place)
        objects = [
            found_object
            for index, (task, size) in enumerate(zip(kept, found.sizes, strict=True))
            for found_object in self._objects(index, task, size)
        ]
        known = sorted({found_object.name for found_object in objects} | set(classes or ()))
        self.fill(found, objects, known, classes, masks, on_bad_box)

    def _image_names(self, tasks: Sequence[Task], index: ImageIndex, listed: dict[str, str]) -> list[str]:
        """Return the name of each task's image in the folder; the base name of its URL for a missing one."""
        names: dict[str, str] = {}
        for task in tasks:
            paths = _paths(task.image)
            try:
                name = listed.get(task.image) or listed.get(task.image.partition("?")[0]) or index.find(paths)
            except DataError as error:
                raise DataError(f"{task.place}: {error}") from error
            name = name or (PurePosixPath(paths[0]).name or task.image)[:LONGEST_NAME]
            if name in names:
                raise DataError(f"{task.place} has the image {name}, like {names[name]}"[:400])
            names[name] = task.place
        return list(names)

    def _objects(self, image: int, task: Task, size: tuple[int, int]) -> list[FoundObject]:
        objects = []
        for number, result in enumerate(task.results):
            place = f"{task.place}, result {number}"
            if result.kind not in SHAPES:
                self._skip_other(result.kind, place)
                continue
            shape = read_shape(result.kind, result.value, size, place)
            if shape is None:
                self.count("brushes that painted nothing left out", 1)
                continue
            self._check_rotation(shape, place)
            objects.append(FoundObject(image, _label(result, place), shape.box, shape.polygons, place, runs=shape.runs))
        return objects

    def _skip_other(self, kind: str, place: str) -> None:
        if self._other_shapes == "raise":
            raise DataError(
                f"{place}: the type {shorten(kind)} is not read, only {', '.join(SHAPES)}\n"
                "set other_shapes: skip in the split to leave out such results"
            )
        self.count(f"results of the type {kind[:40]} left out", 1)

    def _check_rotation(self, shape: Shape, place: str) -> None:
        if shape.rotation and self._rotated_boxes == "raise":
            raise DataError(
                f"{place}: the rectangle is rotated by {shape.rotation:g} degrees\n"
                "set rotated_boxes: hull in the split to take the boxes around rotated rectangles"
            )
        self.count("rotated rectangles, of which the box around is taken", int(shape.rotation > 0))


def _label(result: Result, place: str) -> str:
    labels = result.value.get(result.kind)
    if not isinstance(labels, list) or len(labels) != 1 or not isinstance(labels[0], str):
        raise DataError(f"{place}: {result.kind} must be a list of one label, not {shorten(labels)}")
    return labels[0]


def _paths(image: str) -> list[str]:
    """Return the paths that a URL or path of Label Studio can stand for, the most probable first."""
    try:
        parts = urlsplit(image)
        path = unquote(parts.path)
        if path.endswith(LOCAL_FILES):
            path = parse_qs(parts.query).get("d", [path])[0]
    except ValueError:
        path = image
    candidates = [path, image]
    base_names = [PurePosixPath(candidate.replace("\\", "/")).name for candidate in candidates]
    return [*candidates, *(UPLOAD_PREFIX.sub("", name) for name in base_names)]


def _read_image_list(source: Path) -> dict[str, str]:
    files: dict[str, str] = {}
    for line, (url, name) in read_csv_pairs(source):
        if url in files or not (url and name):
            raise DataError(f"{source}, line {line}: the URL {shorten(url)} occurs twice, or is without file")
        files[url] = name
    return files
