"""Range checks of options. They all raise the same kind of message: `lr=-1 must be above 0`."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from numbers import Real
from typing import Any

from visionkit.errors import ConfigError


def check_names(what: str, names: Iterable[object]) -> None:
    """Raise ConfigError unless each name has only letters, digits, "_" and "-", so that it can be part of a file name.

    Args:
        what: what the names are for, for the message.
        names: the names; those that are no text are refused, too.
    """
    for name in names:
        if not isinstance(name, str) or re.fullmatch(r"[\w-]+", name) is None:
            raise ConfigError(f"{name!r:.60} cannot be the name of a {what}: use letters, digits, _ and -")


def check_at_least(lowest: float, **values: Any) -> None:
    """Raise ConfigError if a value is below `lowest`.

    Args:
        lowest: smallest value that is allowed.
        **values: numbers by the name of their option, as in all functions of this module. Each is a number, None (which
            passes), or a sequence or mapping whose numbers are all checked.
    """
    for name, value in values.items():
        _check(name, value, all(number >= lowest for number in _numbers(name, value)), f"must be at least {lowest}")


def check_numbers(lowest: float, **values: Any) -> None:
    """Raise ConfigError if a value is a number, or a sequence of numbers, below `lowest`; other values pass."""
    for name, value in values.items():
        items = value if isinstance(value, list | tuple) else [value]
        if all(isinstance(item, Real) for item in items):
            check_at_least(lowest, **{name: value})


def check_above(bound: float, **values: Any) -> None:
    """Raise ConfigError unless each value is above `bound`."""
    for name, value in values.items():
        _check(name, value, all(number > bound for number in _numbers(name, value)), f"must be above {bound}")


def check_within(lowest: float, highest: float, **values: Any) -> None:
    """Raise ConfigError unless each value is from `lowest` to `highest`, including both."""
    for name, value in values.items():
        fits = all(lowest <= number <= highest for number in _numbers(name, value))
        _check(name, value, fits, f"must be within {lowest}..{highest}")


def check_below(lowest: float, bound: float, **values: Any) -> None:
    """Raise ConfigError unless each value is at least `lowest` and below `bound`."""
    for name, value in values.items():
        fits = all(lowest <= number < bound for number in _numbers(name, value))
        _check(name, value, fits, f"must be at least {lowest} and below {bound}")


def check_above_up_to(bound: float, highest: float, **values: Any) -> None:
    """Raise ConfigError unless each value is above `bound` and at most `highest`."""
    for name, value in values.items():
        fits = all(bound < number <= highest for number in _numbers(name, value))
        _check(name, value, fits, f"must be above {bound} and at most {highest}")


def check_between(lower: float, upper: float, **values: Any) -> None:
    """Raise ConfigError unless each value is above `lower` and below `upper`."""
    for name, value in values.items():
        fits = all(lower < number < upper for number in _numbers(name, value))
        _check(name, value, fits, f"must be above {lower} and below {upper}")


def check_not_empty(**values: Any) -> None:
    """Raise ConfigError if a sequence is empty."""
    for name, value in values.items():
        _check(name, value, len(value) > 0, "must not be empty")


def check_rising(**values: float) -> None:
    """Raise ConfigError unless 0 <= first <= second <= ... <= 1, in the given order."""
    numbers = [number for name, value in values.items() for number in _numbers(name, value)]
    bounds = [0.0, *numbers, 1.0]
    if sorted(bounds) != bounds:
        listed = ", ".join(f"{name}={value}" for name, value in values.items())
        raise ConfigError(f"{listed} must satisfy 0 <= {' <= '.join(values)} <= 1")


def check_channels(**values: Sequence[float] | None) -> None:
    """Raise ConfigError unless each value is None or three finite numbers, one per color channel."""
    for name, value in values.items():
        _check(name, value, value is None or len(_numbers(name, value)) == 3, "must be three numbers: red, green, blue")


def _numbers(name: str, value: Any) -> list[float]:
    """Return the numbers of a value.

    Raises:
        ConfigError: one of them is not a number, or not finite.
    """
    if value is None:
        return []
    if isinstance(value, Mapping):
        numbers = [*value.values()]
    else:
        numbers = list(value) if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    for number in numbers:
        _check(name, value, isinstance(number, Real), "must be a number")
        _check(name, value, math.isfinite(number), "must be finite")
    return numbers


def _check(name: str, value: Any, fits: bool, requirement: str) -> None:
    if not fits:
        shown = list(value) if isinstance(value, tuple) else value
        raise ConfigError(f"{name}={shown!r} {requirement}")
