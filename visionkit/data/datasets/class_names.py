"""Several readers must agree on the classes: a label would mean one thing in one of them and another in the next."""

from collections.abc import Mapping, Sequence

from visionkit.errors import DataError
from visionkit.text import format_list


def refuse_different_classes(named: Mapping[str, Sequence[str]]) -> None:
    """Raise DataError that names the classes in which readers differ, if they do.

    Args:
        named: class names in label order by what is read ("train").
    """
    (first, expected), *others = sorted(named.items(), key=lambda item: item[0] != "train")
    for other, found in others:
        if list(found) != list(expected):
            raise DataError(
                f"{first} and {other} have different classes: {_difference(first, expected, other, found)}\n"
                "labels would not mean the same in both; mend the data, or list the classes of all in the card:\n"
                "  data.classes: [...]"
            )


def _difference(first: str, expected: Sequence[str], other: str, found: Sequence[str]) -> str:
    extra, lacking = [name for name in found if name not in expected], [name for name in expected if name not in found]
    parts = [f"only {where} has {format_list(names)}" for where, names in ((other, extra), (first, lacking)) if names]
    return "; ".join(parts) or "the same names in another order"
