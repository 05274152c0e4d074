"""What a card says of the values and colours of its masks, held to sense."""

from collections.abc import Mapping, Sequence
from typing import Any

from visionkit.data.masks import LARGEST_VALUE
from visionkit.data.sample import Colour
from visionkit.data.wording import listed
from visionkit.errors import RecipeError
from visionkit.ops.ignore import IGNORE
from visionkit.registry import suggest

IGNORED = "ignore"
"""The name in a card for what is of no class."""

Values = Mapping[int, str]
Colours = Mapping[str, Sequence[Any]]


def class_names_of(values: Values | None, colours: Colours | None, classes: Sequence[str] | None) -> list[str]:
    """Names of the classes in label order: as listed, or in the order in which `values`, else `colours`, name them.

    Raises:
        RecipeError: nothing names a class, or `values` or `colours` name others or not all of those listed.
    """
    named = {"values": list((values or {}).values()), "colours": list(colours or ())}
    found = {key: [name for name in dict.fromkeys(names) if name != IGNORED] for key, names in named.items()}
    names = list(classes or found["values"] or found["colours"])
    if not names:
        raise RecipeError("masks: nothing names the classes; set data.classes, or values or colours of the split")
    for key, given in found.items():
        _refuse_strangers(key, given, names)
    return names


def value_meanings(values: Values | None, class_names: Sequence[str]) -> dict[int, int]:
    """Class index, or 255 for what is ignored, by stored value.

    Where `values` names no class, value k is class k.

    Raises:
        RecipeError: a value is out of its range, or both a class and ignored.
    """
    number = {name: index for index, name in enumerate(class_names)} | {IGNORED: IGNORE}
    given = {_value(key): number[name] for key, name in (values or {}).items()}
    if any(meaning != IGNORE for meaning in given.values()):
        return given
    both = [value for value in given if value < len(class_names)]
    if both:
        raise RecipeError(
            f"masks: values ignores {both[0]}, which would be the class {class_names[both[0]]!r}\n"
            "say for each value which class it is: values: {0: ignore, 1: ...}"
        )
    return {index: index for index in range(len(class_names))} | given


def value_ids(meanings: Mapping[int, int], classes: int) -> list[int]:
    """The first stored value of each class: what the data set calls it."""
    first = {meaning: value for value, meaning in list(meanings.items())[::-1]}
    return [first.get(index, index) for index in range(classes)]


def colour_meanings(colours: Colours, class_names: Sequence[str]) -> dict[Colour, int]:
    """Class index, or 255 for what is ignored, by colour; a class's first colour comes first.

    Raises:
        RecipeError: a colour is none, or stands for two classes.
    """
    number = {name: index for index, name in enumerate(class_names)} | {IGNORED: IGNORE}
    meanings: dict[Colour, int] = {}
    for name, given in colours.items():
        for colour in _colours(name, given):
            if colour in meanings:
                raise RecipeError(f"masks: colours: {list(colour)} stands twice, the second time for {name!r}")
            meanings[colour] = number[name]
    return meanings


def first_colours(meanings: Mapping[Colour, int], classes: int) -> list[Colour]:
    """The first colour of each class: what it is drawn in."""
    first = {meaning: colour for colour, meaning in list(meanings.items())[::-1]}
    return [first[index] for index in range(classes)]


def _refuse_strangers(key: str, given: Sequence[str], names: Sequence[str]) -> None:
    unknown = [name for name in given if name not in names]
    if unknown:
        raise RecipeError(f"masks: {key} names the class {unknown[0]!r}{suggest(unknown[0], names)}; not among them")
    lacking = [name for name in names if name not in given]
    if given and lacking:
        raise RecipeError(f"masks: {key} says nothing of {listed(lacking)}; name all classes or none")


def _value(key: object) -> int:
    if isinstance(key, bool) or not str(key).isdecimal() or int(str(key)) > LARGEST_VALUE:
        raise RecipeError(f"masks: values: {key!r} is no whole number from 0 to {LARGEST_VALUE}")
    return int(str(key))


def _colours(name: str, given: Sequence[Any]) -> list[Colour]:
    """One colour [r, g, b], or a list of such."""
    several = given if given and isinstance(given[0], (list, tuple)) else [given]
    for colour in several:
        if len(colour) != 3 or not all(type(part) is int and 0 <= part <= 255 for part in colour):
            raise RecipeError(f"masks: colours: {name} must be [red, green, blue] from 0 to 255 or a list of such")
    return [(red, green, blue) for red, green, blue in several]
