"""What a card says of the values and colors of its masks, held to sense."""

from collections.abc import Mapping, Sequence
from typing import Any

from visionkit.data.io.masks import LARGEST_VALUE
from visionkit.errors import ConfigError
from visionkit.ops.ignore import IGNORE
from visionkit.registry import suggest
from visionkit.structures import Color
from visionkit.text import format_list

IGNORED = "ignore"
"""The name in a card for what is of no class."""

Values = Mapping[int, str]
Colors = Mapping[str, Sequence[Any]]


def class_names_of(values: Values | None, colors: Colors | None, classes: Sequence[str] | None) -> list[str]:
    """Names of the classes in label order: as listed, or in the order in which `values`, else `colors`, name them.

    Raises:
        ConfigError: nothing names a class, or `values` or `colors` name others or not all of those listed.
    """
    named = {"values": list((values or {}).values()), "colors": list(colors or ())}
    found = {key: [name for name in dict.fromkeys(names) if name != IGNORED] for key, names in named.items()}
    names = list(classes or found["values"] or found["colors"])
    if not names:
        raise ConfigError("masks: nothing names the classes; set data.classes, or values or colors of the split")
    for key, given in found.items():
        _check_known_names(key, given, names)
    return names


def value_meanings(values: Values | None, class_names: Sequence[str]) -> dict[int, int]:
    """Class index, or 255 for what is ignored, by stored value.

    Where `values` names no class, value k is class k.

    Raises:
        ConfigError: a value is out of its range, or both a class and ignored.
    """
    number = {name: index for index, name in enumerate(class_names)} | {IGNORED: IGNORE}
    given = {_value(key): number[name] for key, name in (values or {}).items()}
    if any(meaning != IGNORE for meaning in given.values()):
        return given
    both = [value for value in given if value < len(class_names)]
    if both:
        raise ConfigError(
            f"masks: values ignores {both[0]}, which would be the class {class_names[both[0]]!r}\n"
            "say for each value which class it is: values: {0: ignore, 1: ...}"
        )
    return {index: index for index in range(len(class_names))} | given


def value_ids(meanings: Mapping[int, int], classes: int) -> list[int]:
    """The first stored value of each class: what the data set calls it."""
    first = {meaning: value for value, meaning in list(meanings.items())[::-1]}
    return [first.get(index, index) for index in range(classes)]


def color_meanings(colors: Colors, class_names: Sequence[str]) -> dict[Color, int]:
    """Class index, or 255 for what is ignored, by color; a class's first color comes first.

    Raises:
        ConfigError: a color is none, or stands for two classes.
    """
    number = {name: index for index, name in enumerate(class_names)} | {IGNORED: IGNORE}
    meanings: dict[Color, int] = {}
    for name, given in colors.items():
        for color in _colors(name, given):
            if color in meanings:
                raise ConfigError(f"masks: colors: {list(color)} stands twice, the second time for {name!r}")
            meanings[color] = number[name]
    return meanings


def first_colors(meanings: Mapping[Color, int], classes: int) -> list[Color]:
    """The first color of each class: what it is drawn in."""
    first = {meaning: color for color, meaning in list(meanings.items())[::-1]}
    return [first[index] for index in range(classes)]


def _check_known_names(key: str, given: Sequence[str], names: Sequence[str]) -> None:
    unknown = [name for name in given if name not in names]
    if unknown:
        raise ConfigError(f"masks: {key} names the class {unknown[0]!r}{suggest(unknown[0], names)}; not among them")
    lacking = [name for name in names if name not in given]
    if given and lacking:
        raise ConfigError(f"masks: {key} says nothing of {format_list(lacking)}; name all classes or none")


def _value(key: object) -> int:
    if isinstance(key, bool) or not str(key).isdecimal() or int(str(key)) > LARGEST_VALUE:
        raise ConfigError(f"masks: values: {key!r} is no whole number from 0 to {LARGEST_VALUE}")
    return int(str(key))


def _colors(name: str, given: Sequence[Any]) -> list[Color]:
    """One color [r, g, b], or a list of such."""
    several = given if given and isinstance(given[0], (list, tuple)) else [given]
    for color in several:
        if len(color) != 3 or not all(type(part) is int and 0 <= part <= 255 for part in color):
            raise ConfigError(f"masks: colors: {name} must be [red, green, blue] from 0 to 255 or a list of such")
    return [(red, green, blue) for red, green, blue in several]
