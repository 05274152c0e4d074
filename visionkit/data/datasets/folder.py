"""The `folder` format: one folder per class, as in ImageNet."""

import os
from collections import Counter
from pathlib import Path

import numpy as np

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.base_classification import ClassificationFileDataset
from visionkit.data.datasets.class_checks import check_at_least_two_classes
from visionkit.data.datasets.recognition import SPLIT_WORDS, FolderListing, Recognized, by_split
from visionkit.data.io.bad_files import BadFilePolicy
from visionkit.data.io.image_files import SUFFIXES
from visionkit.data.io.list_images import is_visible, list_images
from visionkit.data.io.paths import require_folder
from visionkit.errors import DataError
from visionkit.text import format_list


def recognize_folder(listing: FolderListing) -> Recognized | None:
    """Return the splits of a folder whose images are all in folders of classes; it has no annotation files."""
    tops = [tuple(name.split("/")) for name in listing.images]
    if not tops or listing.with_suffix(".json", ".xml", ".csv", ".yaml", ".txt"):
        return None
    first = {parts[0] for parts in tops if len(parts) > 1}
    if first and all(name.lower() in SPLIT_WORDS for name in first) and all(len(parts) > 2 for parts in tops):
        folders = by_split(sorted(first))
        classes = {split: {parts[1] for parts in tops if parts[0] == names[0]} for split, names in folders.items()}
        is_valid = all(len(names) > 1 for names in classes.values())
        return Recognized({split: {"path": names[0]} for split, names in folders.items()}) if is_valid else None
    if len(first) < 2 or any(len(parts) < 2 for parts in tops):
        return None
    return Recognized({"train": {"path": ""}})


@formats.register("folder", recognize=recognize_folder)
class FolderDataset(ClassificationFileDataset):
    """Images `root/<path>/<class>/**`, at any depth in the folder of their class.

    Hidden files and folders (`.ipynb_checkpoints`, `._photo.jpg`) and files that are not images are skipped and
    counted. Only the file names are read at the start: for ImageNet this takes seconds, not minutes.

    Args:
        root: folder of the dataset.
        path: folder with the class folders, relative to `root` ("train").
        classes: class names in label order; other folders are skipped and counted, and a class may have no
            images. None takes all folders, in alphabetical order.
        on_bad_file: raise an error for unreadable files, or skip them. skip reads every file once at the start.

    Raises:
        DataError: there are fewer than two class folders, a class has no image, or a class of `classes` has no
            folder.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from visionkit.data.datasets.folder import FolderDataset
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("cat", "dog"):
        ...     (folder / name).mkdir()
        ...     Image.new("RGB", (8, 8)).save(folder / name / "a.png")
        >>> dataset = FolderDataset(folder)
        >>> dataset.class_names, dataset.image_id(1)
        (['cat', 'dog'], 'dog/a.png')
    """

    def __init__(
        self,
        root: Path | None,
        path: str = "",
        classes: list[str] | None = None,
        on_bad_file: BadFilePolicy = "raise",
    ) -> None:
        folder = require_folder(root, "the folder format")
        folder = require_folder(folder / path, "the folder format")
        counts: Counter[str] = Counter()
        self.set_class_names(_classes(folder, classes, counts))
        names = [list_images(folder, name, counts) for name in self.class_names]
        labels = np.repeat(np.arange(len(names)), [len(names_of_class) for names_of_class in names])
        flat_names = [name for names_of_class in names for name in names_of_class]
        super().__init__(folder, flat_names, labels, on_bad_file, dict(counts))
        self._check_empty_classes(allowed=classes is not None)

    def _check_empty_classes(self, allowed: bool) -> None:
        counts = np.bincount(self.labels, minlength=len(self.class_names))
        empty = [name for name, count in zip(self.class_names, counts, strict=True) if not count]
        if empty and (not allowed or not len(self)):
            raise DataError(
                f"{self.folder}: no images of {format_list(empty)}; the searched file types are "
                f"{', '.join(sorted(SUFFIXES))}\nremove empty folders, or list data.classes to keep them as classes"
            )
        if empty:
            self.report["classes without images"] = len(empty)


def _classes(folder: Path, requested: list[str] | None, counts: Counter[str]) -> list[str]:
    """Return the class names in label order, after checking the class folders."""
    entries = [entry for entry in os.scandir(folder) if is_visible(entry.name, counts)]
    names = sorted(entry.name for entry in entries if os.path.isdir(entry.path))
    loose = len(entries) - len(names)
    if loose:
        counts["files outside the class folders skipped"] += loose
    if not names:
        raise DataError(f"{folder} has no folders; the expected layout is {folder}/<class>/<image>")
    if {name.lower() for name in names} <= SPLIT_WORDS.keys():
        raise DataError(
            f"{folder} has the folders {format_list(names)}, which are splits, not classes\n"
            "set one of them for each split of the card: train: {path: train}"
        )
    class_names = names if requested is None else _select_folders(folder, names, requested, counts)
    check_at_least_two_classes(class_names, folder)
    return class_names


def _select_folders(folder: Path, names: list[str], requested: list[str], counts: Counter[str]) -> list[str]:
    others, missing = sorted(set(names) - set(requested)), [name for name in requested if name not in names]
    if others and missing:  # each alone is a choice; both together are probably two spellings of the same classes
        raise DataError(
            f"{folder} has no folder for {format_list(missing)} of data.classes, but others: {format_list(others)}\n"
            "spell data.classes like the folders, or make an empty folder for a class without images"
        )
    if others:
        counts["folders of other classes skipped"] += len(others)
    return list(requested)
