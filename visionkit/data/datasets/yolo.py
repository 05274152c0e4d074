"""The `yolo` format: one text file per image, as Ultralytics, Roboflow, CVAT and Darknet write it."""

from collections import Counter
from itertools import repeat
from pathlib import Path, PurePath

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.found_objects import FoundImages, FoundObject, FoundObjectsDataset
from visionkit.data.datasets.recognition import FolderListing, Recognized, by_split, parent_of
from visionkit.data.datasets.repair_boxes import BadBoxPolicy
from visionkit.data.datasets.yolo_description import YoloDescription, read_description
from visionkit.data.datasets.yolo_labels import read_labels
from visionkit.data.io.bad_files import BadFilePolicy
from visionkit.data.io.foreign_paths import find_foreign
from visionkit.data.io.list_images import list_images
from visionkit.data.io.paths import read_text, require_file, require_folder
from visionkit.errors import DataError

LIST_SUFFIX = ".txt"

NAME_LISTS = ("classes.txt", "obj.names", "labels.txt", "names.txt")
"""Files in which tools list the names of the classes."""


def recognize_yolo(listing: FolderListing) -> Recognized | None:
    """Return the splits of a folder with `data.yaml`, `obj.data`, or label files and a list of class names."""
    for name in listing.with_suffix(".yaml", ".yml", ".data"):
        try:
            description = read_description(listing.folder / name)
        except DataError:
            continue
        splits = {split: {"split": split, "dataset": name} for split in description.images}
        if splits and listing.images:
            return Recognized(splits)
    lists = [name for name in listing.files if name.rpartition("/")[2] in NAME_LISTS]
    labels = set(listing.with_suffix(LIST_SUFFIX))
    folders = [
        folder
        for folder in listing.image_folders
        if any(label in labels for name in listing.images if parent_of(name) == folder for label in _label_names(name))
    ]
    if not lists or not folders:
        return None
    splits = {split: {"dataset": lists[0], "images": names[0] or "."} for split, names in by_split(folders).items()}
    return Recognized(splits)


@formats.register("yolo", options_for={"masks": {"masks": True}}, recognize=recognize_yolo)
class Yolo(FoundObjectsDataset):
    r"""Images with the boxes and polygons of their label files.

    The label file of `images/train/a.jpg` is `labels/train/a.txt`, or `a.txt` beside the image. An image without a
    label file has no objects, and is counted.

    Args:
        root: folder of the dataset.
        split: key of the images in `dataset`: train, val or test.
        dataset: file that names the classes, relative to `root`: `data.yaml`, Darknet's `obj.data`, or a list of names
            such as `obj.names` and `classes.txt`. Its paths may be those of another machine, see `find_foreign`.
        images: folder of images, or text file with a path per line, relative to `root`; None takes those in `dataset`.
        classes: classes to keep, in label order; objects of other classes are skipped and counted. None keeps all.
        masks: whether samples have instance masks, from the polygons.
        on_bad_box: drop boxes without area, or raise; see `repair_boxes`.
        on_bad_file: raise an error for missing and unreadable images, or skip them.

    Raises:
        DataError: files are missing, a line of a label file is malformed or has an unknown class, or no object remains.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from visionkit.data.datasets.yolo import Yolo
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("images", "labels"):
        ...     (folder / name).mkdir()
        >>> Image.new("RGB", (64, 48)).save(folder / "images" / "a.jpg")
        >>> _ = (folder / "labels" / "a.txt").write_text("0 0.5 0.5 0.25 0.5")
        >>> _ = (folder / "data.yaml").write_text("train: images\nnames: [cat]")
        >>> Yolo(folder)[0].annotation.boxes
        array([[24., 12., 40., 36.]], dtype=float32)
    """

    def __init__(
        self,
        root: Path | None,
        split: str = "train",
        dataset: str = "data.yaml",
        images: str | None = None,
        classes: list[str] | None = None,
        masks: bool = False,
        on_bad_box: BadBoxPolicy = "drop",
        on_bad_file: BadFilePolicy = "raise",
    ) -> None:
        self.folder = require_folder(root, "the yolo format")
        self.source = require_file(self.folder / dataset)
        self.report: dict[str, int] = {}
        self._whole_folders: set[Path] = set()
        description = read_description(self.source)
        names = self._image_names(description, split, images)
        found = self.open_images(self.folder, names, on_bad_file)
        objects = self._read_objects(found, description)
        self.fill(found, objects, description.class_names, classes, masks, on_bad_box)

    def _image_names(self, description: YoloDescription, split: str, images: str | None) -> list[str]:
        """Return the names of the images, relative to the folder of the dataset."""
        if images is None and split not in description.images:
            raise DataError(f"{self.source} has no images for the split {split!r}; give images=... in the card")
        entries = description.images[split] if images is None else [images]
        return [name for entry in entries for name in self._expand(entry)]

    def _expand(self, entry: str) -> list[str]:
        """Return the images of a folder, of a list, or a single one."""
        name = find_foreign(self.folder, entry, self.source.parent)
        if name is None:
            raise DataError(f"{self.source}: {entry.strip()} does not exist in {self.folder}")
        path, counts = self.folder / name, Counter[str]()
        if path.is_dir():
            names = list_images(self.folder, name, counts)
            self._whole_folders |= {labels.parent for image in names for labels in _label_paths(self.folder, image)}
            for reason, number in counts.items():
                self.count(reason, number)
            return names
        if path.suffix != LIST_SUFFIX:
            return [name]
        lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
        return self.find_names(self.folder, lines, repeat(path.parent))

    def _read_objects(self, images: FoundImages, description: YoloDescription) -> list[FoundObject]:
        objects: list[FoundObject] = []
        without, folders, used = 0, set[Path](), set[Path]()
        for index, (name, size) in enumerate(zip(images.names, images.sizes, strict=True)):
            path = self._label_file(name)
            if path is None:
                without += 1
                continue
            used.add(path)
            folders.add(path.parent)
            found, repeated = read_labels(path, size, description.keypoints)
            self.count("repeated lines dropped", repeated)
            place = path.relative_to(self.folder)
            for label, box, polygons, line in found:
                if label >= len(description.class_names):
                    raise DataError(
                        f"{path} line {line}: class {label}, but {self.source.name} names "
                        f"{len(description.class_names)} classes (0 to {len(description.class_names) - 1})\n"
                        f"add the missing names to {self.source}, or correct the line"
                    )
                objects.append(
                    FoundObject(index, description.class_names[label], box, polygons, f"{place} line {line}")
                )
        self.count("images without label file, taken as images without objects", without)
        self.count("label files without image", _count_others(folders & self._whole_folders, used))
        return objects

    def _label_file(self, name: str) -> Path | None:
        """Return the label file of an image; None if there is none."""
        return next((path for path in _label_paths(self.folder, name) if path.is_file()), None)


def _label_paths(folder: Path, name: str) -> list[Path]:
    """Return the places of an image's label file: in `labels` instead of `images`, and beside the image."""
    return [folder / label for label in _label_names(name)]


def _label_names(name: str) -> list[str]:
    """Return the names that the label file of an image may have."""
    path = PurePath(name).with_suffix(LIST_SUFFIX)
    positions = [index for index, part in enumerate(path.parts[:-1]) if part == "images"]
    if not positions:
        return [str(path)]
    return [str(PurePath(*path.parts[: positions[-1]], "labels", *path.parts[positions[-1] + 1 :])), str(path)]


def _count_others(folders: set[Path], used: set[Path]) -> int:
    """Return the number of label files in folders of labels alone that belong to no image."""
    return sum(
        path not in used for folder in folders if "labels" in folder.parts for path in folder.glob(f"*{LIST_SUFFIX}")
    )
