"""Conversion of a dataset into another format."""

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from PIL import Image
from rich.progress import track

from visionkit.data.datasets.base import VisionDataset, formats
from visionkit.data.datasets.image_path import image_path
from visionkit.data.export.base import DatasetWriter, ExportClasses, ExportImage
from visionkit.data.export.plan import NameGiver, SplitPlan, plan_split
from visionkit.data.io.atomic_folder import atomic_folder
from visionkit.data.io.images import ImageArray
from visionkit.data.io.paths import require_regular_file
from visionkit.errors import DataError, WriteError

CARD = "card.yaml"


@dataclass
class Converted:
    """A written dataset.

    Attributes:
        data: `data` section of its card.
        masked: splits of which at least one object has a mask that is not just its box.
    """

    data: dict[str, Any]
    masked: set[str] = field(default_factory=set)


def plan_splits(datasets: Mapping[str, VisionDataset], writer: type[DatasetWriter]) -> list[SplitPlan]:
    """Return the names and ids of the images of several splits.

    Raises:
        DataError: a split has nothing that the format holds.
    """
    plans, common = [], NameGiver(writer.spaces_in_names)
    for split, dataset in datasets.items():
        if not any(_has_content(dataset, index, writer) for index in range(len(dataset))):
            wanted = "objects" if "objects" in writer.holds else "semantic masks"
            raise DataError(f"{split} has no {wanted}, which the format {writer.format} holds")
        names = NameGiver(writer.spaces_in_names) if writer.has_split_folders else common
        plans.append(plan_split(split, dataset, names))
    return plans


def _has_content(dataset: VisionDataset, index: int, writer: type[DatasetWriter]) -> bool:
    return len(dataset.annotation(index)) > 0 if "objects" in writer.holds else dataset.has_semantic(index)


def convert(plans: list[SplitPlan], writer_class: type[DatasetWriter], folder: Path, link: bool = False) -> Converted:
    """Write the images of several splits in another format into a new folder, with a data card.

    Args:
        plans: the splits.
        writer_class: writer of the format.
        folder: the folder, which appears when it is complete.
        link: make hard links to the image files instead of copies.

    Raises:
        WriteError: the folder is not new, or cannot be written.
        DataError: an image is missing or unreadable.
    """
    first = plans[0].dataset
    classes = ExportClasses(first.class_names, first.category_ids, first.class_colors)
    masked: set[str] = set()
    with atomic_folder(folder) as temporary:
        with writer_class(temporary, classes) as writer:
            for each in plans:
                (temporary / writer.image_folder(each.split)).mkdir(parents=True, exist_ok=True)
                for index in track(range(len(each.dataset)), description=each.split):
                    image = _write_image(each, index, writer, link)
                    if each.split not in masked and any(map(image.outlined, range(len(image.annotation)))):
                        masked.add(each.split)
        splits = {each.split: writer.split_options(each.split) for each in plans}
        data = {"format": writer.format, "root": str(folder), **writer.card_options(), "splits": splits}
        if writer.format in formats:
            text = yaml.safe_dump({"data": data}, sort_keys=False, allow_unicode=True)
            (temporary / CARD).write_text(text, encoding="utf-8")
    return Converted(data, masked)


def _write_image(each: SplitPlan, index: int, writer: DatasetWriter, link: bool) -> ExportImage:
    """Write an image and its annotation."""
    dataset, name = each.dataset, each.names[index]
    target = writer.folder / writer.image_folder(each.split) / name
    place_image(image_path(dataset, index), lambda: dataset[index].image, target, link)
    image = ExportImage(
        split=each.split,
        number=each.numbers[index],
        name=name,
        size=dataset.image_size(index),
        annotation=dataset.annotation(index),
        semantic=dataset.semantic(index) if "semantic" in writer.holds else None,
    )
    writer.write(image)
    return image


def place_image(source: Path | None, decode: Callable[[], ImageArray], target: Path, link: bool) -> None:
    """Write the file of an image: a copy, a hard link, or a new PNG file if the image has none.

    Raises:
        DataError: `source` is not a regular file.
        WriteError: a link cannot be made, for example to another file system.
    """
    if source is None:
        Image.fromarray(decode()).save(target)
        return
    require_regular_file(source, "image")
    if not link:
        shutil.copyfile(source, target)
        return
    try:
        os.link(source.resolve(), target)
    except OSError as error:
        raise WriteError(f"no hard link to {source} can be made: {error.strerror}\nleave out --link") from error
