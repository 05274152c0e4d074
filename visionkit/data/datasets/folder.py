"""One folder for each class: the layout of ImageNet, and of most images that people have lying about."""

import os
from collections import Counter
from pathlib import Path

import numpy as np

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.classification import ClassificationFiles, refuse_single_class
from visionkit.data.io.bad_files import BadFiles
from visionkit.data.io.images import SUFFIXES
from visionkit.data.io.list_images import list_images, visible
from visionkit.data.io.paths import existing_folder
from visionkit.errors import DataError
from visionkit.text import format_list

SPLIT_NAMES = {"train", "training", "val", "valid", "validation", "test", "testing"}


@formats.register("folder")
class Folder(ClassificationFiles):
    """Images `root/<path>/<class>/**`, at any depth inside their class's folder.

    Hidden files and folders (`.ipynb_checkpoints`, `._photo.jpg`) and files of other endings are left out and counted.
    Opening the set reads no image: ImageNet's 1.2 million names take seconds, its headers would take minutes.

    Args:
        root: folder of the data set.
        path: folder below `root` that holds the class folders ("train").
        classes: class names in label order; folders of other names are left out and counted, and a class may
            have no image. None takes all folders, in alphabetical order.
        on_bad_file: raise when an image that cannot be read is asked for (`visionkit data check` finds them all
            beforehand), or skip: read every image once at opening, leave out and count those that cannot be.

    Raises:
        DataError: there are no class folders or only one, a class has no image, or a listed class has no folder.
    """

    def __init__(
        self,
        root: Path | None,
        path: str = "",
        classes: list[str] | None = None,
        on_bad_file: BadFiles = "raise",
    ) -> None:
        folder = existing_folder(root, "the folder format")
        folder = existing_folder(folder / path, "the folder format")
        counts: Counter[str] = Counter()
        self.name_classes(_classes(folder, classes, counts))
        names = [list_images(folder, name, counts) for name in self.class_names]
        labels = np.repeat(np.arange(len(names)), [len(of_class) for of_class in names])
        super().__init__(folder, [name for of_class in names for name in of_class], labels, on_bad_file, dict(counts))
        self._refuse_empty(allowed=classes is not None)

    def _refuse_empty(self, allowed: bool) -> None:
        counts = np.bincount(self.labels, minlength=len(self.class_names))
        empty = [name for name, count in zip(self.class_names, counts, strict=True) if not count]
        if empty and (not allowed or not len(self)):
            raise DataError(
                f"{self.folder}: no images of {format_list(empty)}; looked for files ending in "
                f"{', '.join(sorted(SUFFIXES))}\nremove an empty folder, or list data.classes to keep it as a class"
            )
        if empty:
            self.report["classes without an image"] = len(empty)


def _classes(folder: Path, wanted: list[str] | None, counts: Counter[str]) -> list[str]:
    """Names of the classes in label order."""
    entries = [entry for entry in os.scandir(folder) if visible(entry.name, counts)]
    found = sorted(entry.name for entry in entries if entry.is_dir())
    loose = len(entries) - len(found)
    if loose:
        counts["files outside the class folders left out"] += loose
    if not found:
        raise DataError(f"{folder} has no folders; images are looked for as {folder}/<class>/<image>")
    if {name.lower() for name in found} <= SPLIT_NAMES:
        raise DataError(
            f"{folder} has the folders {format_list(found)}, which are splits and no classes\n"
            "name one for each split of the card: train: {path: train}"
        )
    class_names = found if wanted is None else _chosen(folder, found, wanted, counts)
    refuse_single_class(class_names, folder)
    return class_names


def _chosen(folder: Path, found: list[str], wanted: list[str], counts: Counter[str]) -> list[str]:
    others, absent = sorted(set(found) - set(wanted)), [name for name in wanted if name not in found]
    if others and absent:  # each alone is a choice; both together are two spellings of the same classes
        raise DataError(
            f"{folder} has no folder for {format_list(absent)} of data.classes, but others: {format_list(others)}\n"
            "spell data.classes as the folders, or make an empty folder for a class without images"
        )
    if others:
        counts["folders of other classes left out"] += len(others)
    return list(wanted)
