"""Class names, stored values and colors of the `masks` format, checked for consistency."""

from collections.abc import Mapping, Sequence
from typing import Any

from visionkit.data.io.images import SIXTEEN_BIT_MAX
from visionkit.errors import ConfigError
from visionkit.ops.ignore import IGNORE
from visionkit.registry import suggest
from visionkit.structures import Color
from visionkit.text import format_list

IGNORE_NAME = "ignore"
"""Name in a card for pixels that belong to no class."""

Values = Mapping[int, str]
Colors = Mapping[str, Sequence[Any]]


def resolve_class_names(values: Values | None, colors: Colors | None, classes: Sequence[str] | None) -> list[str]:
    """Return the class names in label order: `classes`, or the names in the order of `values`, else of `colors`.

    Raises:
        ConfigError: there are no class names, or `values` or `colors` have unknown names or lack some.
    """
    given = {"values": list((values or {}).values()), "colors": list(colors or ())}
    unique = {key: [name for name in dict.fromkeys(names) if name != IGNORE_NAME] for key, names in given.items()}
    class_names = list(classes or unique["values"] or unique["colors"])
    if not class_names:
        raise ConfigError("masks: the class names are unknown; set data.classes, or values or colors of the split")
    for key, names in unique.items():
        _check_names(key, names, class_names)
    return class_names


def classes_by_value(values: Values | None, class_names: Sequence[str]) -> dict[int, int]:
    """Return the class index, or 255 for ignored pixels, by stored value.

    If `values` has no class, only ignored values, then value k is class k.

    Raises:
        ConfigError: a value is out of range, or is both a class and ignored.
    """
    index = {name: number for number, name in enumerate(class_names)} | {IGNORE_NAME: IGNORE}
    given = {_check_value(value): index[name] for value, name in (values or {}).items()}
    if any(class_index != IGNORE for class_index in given.values()):
        return given
    both = [value for value in given if value < len(class_names)]
    if both:
        raise ConfigError(
            f"masks: values ignores {both[0]}, which would be the class {class_names[both[0]]!r}\n"
            "set the class of each value: values: {0: ignore, 1: ...}"
        )
    return {number: number for number in range(len(class_names))} | given


def first_values(by_value: Mapping[int, int], num_classes: int) -> list[int]:
    """Return the first stored value of each class, which serves as its category id."""
    first = {class_index: value for value, class_index in list(by_value.items())[::-1]}
    return [first.get(index, index) for index in range(num_classes)]


def classes_by_color(colors: Colors, class_names: Sequence[str]) -> dict[Color, int]:
    """Return the class index, or 255 for ignored pixels, by color; in the order of `colors`.

    Raises:
        ConfigError: a color is malformed, or belongs to two classes.
    """
    index = {name: number for number, name in enumerate(class_names)} | {IGNORE_NAME: IGNORE}
    by_color: dict[Color, int] = {}
    for name, given in colors.items():
        for color in _parse_colors(name, given):
            if color in by_color:
                raise ConfigError(f"masks: colors: {list(color)} occurs twice, the second time for {name!r}")
            by_color[color] = index[name]
    return by_color


def first_colors(by_color: Mapping[Color, int], num_classes: int) -> list[Color]:
    """Return the first color of each class, in which it is drawn."""
    first = {class_index: color for color, class_index in list(by_color.items())[::-1]}
    return [first[index] for index in range(num_classes)]


def _check_names(key: str, names: Sequence[str], class_names: Sequence[str]) -> None:
    unknown = [name for name in names if name not in class_names]
    if unknown:
        raise ConfigError(f"masks: {key} has the unknown class {unknown[0]!r}{suggest(unknown[0], class_names)}")
    missing = [name for name in class_names if name not in names]
    if names and missing:
        raise ConfigError(f"masks: {key} has no entry for {format_list(missing)}; list all classes or none")


def _check_value(value: object) -> int:
    if isinstance(value, bool) or not str(value).isdecimal() or int(str(value)) > SIXTEEN_BIT_MAX:
        raise ConfigError(f"masks: values: {value!r} must be an integer from 0 to {SIXTEEN_BIT_MAX}")
    return int(str(value))


def _parse_colors(name: str, given: Sequence[Any]) -> list[Color]:
    """Return the colors of a class, given as one color [r, g, b] or a list of colors."""
    colors = given if given and isinstance(given[0], (list, tuple)) else [given]
    for color in colors:
        is_triple = isinstance(color, (list, tuple)) and len(color) == 3
        if not is_triple or not all(type(part) is int and 0 <= part <= 255 for part in color):
            raise ConfigError(f"masks: colors: {name} must be [red, green, blue] from 0 to 255, or a list of colors")
    return [(red, green, blue) for red, green, blue in colors]
