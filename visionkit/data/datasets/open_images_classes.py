"""Names of the classes of Open Images, whose tables have labels such as `/m/01yrx`."""

from collections.abc import Sequence
from pathlib import Path

from visionkit.data.datasets.recognition import FolderListing
from visionkit.data.io.csv_rows import read_csv_pairs
from visionkit.data.io.paths import require_file
from visionkit.errors import DataError
from visionkit.text import shorten

HEADER = ["LabelName", "DisplayName"]


def read_class_names(folder: Path, name: str | None, labels: set[str], classes: Sequence[str] | None) -> dict[str, str]:
    """Return the name of each class by its label, in label order.

    Args:
        folder: folder of the dataset.
        name: the table of labels and names, relative to `folder`; None takes the labels as names, in alphabetical
            order.
        labels: labels of the annotations.
        classes: classes of the card, which are added without a table.

    Raises:
        DataError: the table is missing or empty, or a label occurs twice or has no name.

    Example:
        >>> from pathlib import Path
        >>> from visionkit.data.datasets.open_images_classes import read_class_names
        >>> read_class_names(Path(), None, {"/m/2", "/m/1"}, None)
        {'/m/1': '/m/1', '/m/2': '/m/2'}
    """
    if name is None:
        return {label: label for label in sorted(labels | set(classes or ()))}
    source = require_file(folder / name)
    names: dict[str, str] = {}
    for line, (label, display) in read_csv_pairs(source):
        if [label, display] == HEADER:
            continue
        if label in names or not (label and display):
            raise DataError(f"{source}, line {line}: the label {shorten(label)} occurs twice, or is without name")
        names[label] = display
    if not names:
        raise DataError(f"{source} describes no classes")
    return names


def class_descriptions_option(listing: FolderListing) -> dict[str, str]:
    """Return the option with the table of names in a folder, if there is one."""
    found = [name for name in listing.with_suffix(".csv") if "class-descriptions" in name]
    return {"class_descriptions": found[0]} if found else {}
