"""Data cards of folders whose format is recognized from their files."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visionkit.data.datasets.base import formats
from visionkit.data.datasets.recognition import FolderListing, Recognized, in_order
from visionkit.errors import DataError
from visionkit.text import format_list

HOLDOUT = {"fraction": 0.2, "seed": 0}
"""Part of the training images that becomes the validation split of a folder without one."""

LAST = "folder"
"""Format that is taken only if no other one is recognized: it has no annotation files."""


@dataclass(frozen=True)
class FolderCard:
    """A card as it would be written, and what the user should know about it.

    Attributes:
        values: the sections of the card.
        notes: what was assumed, and what was found and is not used.
    """

    values: dict[str, Any]
    notes: list[str]


def card_of_folder(folder: Path, format: str | None = None) -> FolderCard:
    """Return the data card of a folder.

    Args:
        folder: the folder.
        format: name of the format; None recognizes it.

    Raises:
        DataError: the folder is in no known format, or in several.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from visionkit.data.folder_card import card_of_folder
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("cat", "dog"):
        ...     (folder / name).mkdir()
        ...     Image.new("RGB", (8, 8)).save(folder / name / "a.png")
        >>> card_of_folder(folder).values["data"]["format"]
        'folder'
    """
    if not folder.is_dir():
        raise DataError(f"the folder {folder} does not exist")
    listing = FolderListing(folder)
    found = _recognize(listing, format)
    usable = {name: recognized for name, recognized in found.items() if recognized.splits}
    if len(found) > 1:
        usable.pop(LAST, None)
    if not usable:
        raise DataError(_not_recognized(listing, found))
    if len(usable) > 1:
        raise DataError(
            f"{folder} is in several formats: {', '.join(usable)}\n"
            f"choose one: visionkit data init {folder} --format {next(iter(usable))} > data/mine.yaml"
        )
    name, recognized = next(iter(usable.items()))
    return FolderCard({"data": _data_section(folder, name, recognized)}, _notes(recognized))


def _recognize(listing: FolderListing, format: str | None) -> dict[str, Recognized]:
    recognizers = formats.recognizers
    if format is not None and format not in recognizers:
        formats.get(format)  # an unknown name is an error
        raise DataError(f"folders in the format {format} need a data card; see docs/data-cards.md")
    names: Iterable[str] = recognizers if format is None else [format]
    found = {name: recognizers[name](listing) for name in names}
    return {name: recognized for name, recognized in found.items() if recognized is not None}


def _data_section(folder: Path, format: str, recognized: Recognized) -> dict[str, Any]:
    """Return the data section. A single split is trained on, whatever its name; several keep their names."""
    splits = in_order(recognized.splits)
    if len(splits) == 1:
        splits = {"train": next(iter(splits.values()))}
    section: dict[str, Any] = {"format": format, "root": str(folder), "splits": splits}
    if "train" in splits and "val" not in splits:
        section["holdout"] = dict(HOLDOUT)
    return section


def _notes(recognized: Recognized) -> list[str]:
    notes, names = list(recognized.notes), list(in_order(recognized.splits))
    if len(names) == 1 and names != ["train"]:
        notes.append(f"there is no train split: {names[0]} is taken as train")
    elif "train" not in names:
        notes.append(f"there is no train split, only {' and '.join(names)}: to train, name one train in the card")
    if "val" not in names or len(names) == 1:
        notes.append(f"there is no val split: {HOLDOUT['fraction']:.0%} of train are held out")
    return notes


def _not_recognized(listing: FolderListing, found: dict[str, Recognized]) -> str:
    notes = [f"{name}: {note}" for name, recognized in found.items() for note in recognized.notes]
    suffixes = [f"{count} {suffix or 'without suffix'}" for suffix, count in listing.suffixes.items()]
    return "\n".join(
        [
            f"the format of {listing.folder} is not recognized; it has {format_list(suffixes) or 'no files'}",
            *notes[:2],
            "copy data/template.yaml, data/folder_template.yaml or data/masks_template.yaml, and edit it",
        ]
    )
