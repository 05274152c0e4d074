"""Checks of class names and labels that several formats share."""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from visionkit.errors import DataError
from visionkit.text import format_list, has_control_characters, is_encodable, shorten


def check_class_names(names: Sequence[str]) -> None:
    """Check that class names differ, and are text that can be printed and written in UTF-8.

    Raises:
        DataError: a name is not a string, is blank, has control characters, or is not encodable, such as that of a
            folder in another encoding; or a name is repeated, so that objects of one class would get two labels.
    """
    for name in names:
        if not isinstance(name, str) or not name.strip() or not is_encodable(name) or has_control_characters(name):
            raise DataError(f"{shorten(name)} cannot be the name of a class; a name is text that is not blank")
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataError(f"{len(repeated)} names of classes occur more than once: {format_list(repeated)}"[:400])


def check_same_classes(class_names: Mapping[str, Sequence[str]]) -> None:
    """Check that several datasets have the same classes in the same order.

    Otherwise a label would mean one class in one dataset and another class in the next.

    Args:
        class_names: class names in label order by the dataset's name ("train").

    Raises:
        DataError: two datasets differ; the message lists the classes in which they differ.
    """
    (first, expected), *others = sorted(class_names.items(), key=lambda item: item[0] != "train")
    for other, names in others:
        if list(names) != list(expected):
            raise DataError(
                f"{first} and {other} have different classes: {_difference(first, expected, other, names)}\n"
                "the same label would mean different classes; correct the data, or list all classes in the card:\n"
                "  data.classes: [...]"
            )


def check_requested_classes(stored: list[str], requested: list[str] | None, source: object) -> list[str]:
    """Return the class names that a dataset stores, after checking that a card does not list other ones.

    Args:
        stored: names in label order, as the dataset's files have them.
        requested: `data.classes` of the card; None if the card has none.
        source: file, for the message.

    Raises:
        DataError: `requested` differs from `stored`.
    """
    if requested is not None and requested != stored:
        raise DataError(f"data.classes must be left out or equal the names in {source}: {stored}"[:400])
    return stored


def check_at_least_two_classes(class_names: Sequence[str], source: object) -> None:
    """Check that there are at least two classes; raises DataError that names `source` otherwise."""
    if len(class_names) < 2:
        raise DataError(f"{source} has {len(class_names)} class ({', '.join(class_names)}); at least two are needed")


def check_labels(labels: NDArray[np.int64], num_images: int, class_names: Sequence[str], source: object) -> None:
    """Check that there is one label per image and that all labels are in range.

    Args:
        labels: int64 [N].
        num_images: number of images, which must equal N.
        class_names: K names; labels must be 0..K-1.
        source: file, for the message.

    Raises:
        DataError: a check fails.
    """
    if len(labels) != num_images or not num_images:
        raise DataError(f"{source} has {num_images} images and {len(labels)} labels")
    wrong = (labels < 0) | (labels >= len(class_names))
    if wrong.any():
        index = int(wrong.argmax())
        last = len(class_names) - 1
        raise DataError(f"{source}: image {index} has the label {labels[index]}; labels must be 0 to {last}")


def _difference(first: str, expected: Sequence[str], other: str, names: Sequence[str]) -> str:
    extra = [name for name in names if name not in expected]
    missing = [name for name in expected if name not in names]
    parts = [f"only {where} has {format_list(only)}" for where, only in ((other, extra), (first, missing)) if only]
    return "; ".join(parts) or "the same names in another order"
