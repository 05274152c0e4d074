"""Checks of the description in a checkpoint, which may come from an untrusted source or another version."""

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from visionkit.data.io.images import BIT_DEPTHS
from visionkit.errors import CheckpointError, ConfigError
from visionkit.plugins import how_to_import

T = TypeVar("T")

MAX_VALUES = 1_000_000
"""Largest number of values in a description. A small file can hold more, because a pickle can repeat a list."""

PLAIN = (int, float, str, bool, type(None), dict, list, tuple)

UNUSABLE = (TypeError, LookupError, AttributeError, OverflowError)
"""Exceptions of constructors for values whose wrong type no check before has found."""

REQUIRED = {
    "task": str,
    "model": dict[str, Any] | None,
    "class_names": list[str],
    "category_ids": list[int],
    "class_colors": list[list[int]] | None,
    "recipe": dict[str, Any],
}
OPTIONAL = {
    "plugins": list[str],
    "versions": dict[str, str],
    "metrics": dict[str, float],
    "preprocess": dict[str, Any],
    "class_thresholds": list[float | None] | None,
    "bit_depth": int | None,
    "heads": dict[str, Any],
}


def check_description(description: Mapping[str, Any]) -> None:
    """Check the types of a description, apart from the options, which `options_from` checks.

    Raises:
        CheckpointError: a value is missing or has the wrong type. The message names it.
    """
    _check_plain(description)
    _check_values(description)
    for name, head in description.get("heads", {}).items():
        if not has_type(head, dict[str, Any]):
            raise CheckpointError(f"heads.{name} is {head!r:.60}, and must be a description")
        _check_values({"recipe": {}, **head})


def _check_values(description: Mapping[str, Any]) -> None:
    """Check the values of a description, those of its heads not included."""
    for key, kind in {**REQUIRED, **OPTIONAL}.items():
        if (key in REQUIRED or key in description) and not has_type(description.get(key), kind):
            raise CheckpointError(f"{key} is {description.get(key)!r:.60}, and must be {type_name(kind)}")
    classes = len(description["class_names"])
    for key in ("category_ids", "class_colors", "class_thresholds"):
        values = description.get(key)
        if values is not None and len(values) != classes:
            raise CheckpointError(f"{key} has {len(values)} entries for {classes} classes")
    for color in description["class_colors"] or []:
        if len(color) != 3 or not all(0 <= value <= 255 for value in color):
            raise CheckpointError(f"class_colors has {color!r:.60}, which is no RGB color")
    if (depth := description.get("bit_depth")) is not None and not BIT_DEPTHS[0] <= depth <= BIT_DEPTHS[1]:
        raise CheckpointError(f"bit_depth is {depth}, and must be within {BIT_DEPTHS[0]}..{BIT_DEPTHS[1]}")
    if description["model"] is not None:
        _check_model(description["model"])
    _check_statistics(description.get("preprocess") or {})


def options_from(kind: type[T], values: Any, section: str) -> T:
    """Return a dataclass of options from the values in a description.

    Raises:
        CheckpointError: a value has the wrong type, or the dataclass has no such option.
        ConfigError: a value is out of range.
    """
    if not has_type(values, dict[str, Any]):
        raise CheckpointError(f"{section} is {values!r:.60}, and must hold options by name")
    hints = typing.get_type_hints(kind)
    for name, value in values.items():
        if name not in hints:
            raise CheckpointError(f"{section} has the option {name!r:.60}, which this version does not have")
        if not has_type(value, hints[name]):
            raise CheckpointError(f"{section}.{name} is {value!r:.60}, and must be {type_name(hints[name])}")
    return kind(**values)


def check_arguments(kind: type, values: Mapping[str, Any], section: str) -> None:
    """Check the types of a constructor's arguments in a description, as far as it declares them.

    Raises:
        CheckpointError: a value has the wrong type.
    """
    hints = argument_types(kind)
    for name, value in values.items():
        if not has_type(value, hints.get(name, Any)):
            raise CheckpointError(f"{section}.{name} is {value!r:.60}, and must be {type_name(hints[name])}")


def argument_types(target: Callable[..., Any]) -> dict[str, Any]:
    """Return the types of the arguments of a class or function, as far as it declares them."""
    try:
        # of this class, not of a subclass
        return typing.get_type_hints(target.__init__ if isinstance(target, type) else target)  # type: ignore[misc]
    except NameError:  # a plugin that imports types for type checkers only
        return {}


def has_type(value: Any, kind: Any) -> bool:
    """Return whether a value of a description may have a type: a class, or a list, dict, tuple, union or literal."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(has_type(value, argument) for argument in arguments)
    if origin is Literal:
        return value in arguments
    if origin in (list, tuple, Sequence):
        kinds = [argument for argument in arguments if argument is not ...]
        return isinstance(value, (list, tuple)) and all(any(has_type(item, each) for each in kinds) for item in value)
    if origin in (dict, Mapping):
        return isinstance(value, dict) and all(
            has_type(key, arguments[0]) and has_type(item, arguments[1]) for key, item in value.items()
        )
    if kind in (int, float) and isinstance(value, bool):
        return False
    if dataclasses.is_dataclass(kind):
        return has_type(value, dict[str, Any])
    if kind not in PLAIN:  # such as a protocol: any value of a description may stand for it
        return True
    return isinstance(value, (int, float) if kind is float else kind)


@contextmanager
def explain_description(description: Mapping[str, Any], path: str | Path) -> Iterator[None]:
    """Add the checkpoint's path to errors in using its description, and for an unknown name how to import its plugins.

    Raises:
        CheckpointError: the description cannot be used, or a plugin is not imported. Loading a checkpoint never imports
            plugins.
    """
    try:
        yield
    except ConfigError as error:
        advice = how_to_import(description.get("plugins", []))
        raise CheckpointError(f"{path}: {error}" + (f"\n{advice}" if advice else "")) from error
    except UNUSABLE as error:
        raise CheckpointError(f"{path} is broken or of another version: {error!r:.200}") from error
    except CheckpointError as error:
        if str(error).startswith(str(path)):
            raise
        raise CheckpointError(f"{path} is broken or of another version: {error}") from error


def _check_plain(description: Mapping[str, Any]) -> None:
    """Check that the description holds plain values only, and not more than `MAX_VALUES`."""
    waiting: list[Any] = [description]
    for _ in range(MAX_VALUES):
        if not waiting:
            return
        value = waiting.pop()
        if isinstance(value, dict):
            waiting += [*value, *value.values()]
        elif isinstance(value, (list, tuple)):
            waiting += value
        elif value is not None and not isinstance(value, (str, int, float)):
            raise CheckpointError(f"its description has a {type(value).__name__}, which is no plain value")
        if len(waiting) > MAX_VALUES:
            break
    raise CheckpointError(f"its description has more than {MAX_VALUES:,} values")


def _check_model(model: Mapping[str, Any]) -> None:
    kinds = {"name": str, "num_classes": int, "backbone": dict[str, Any]}
    for key, kind in kinds.items():
        if not has_type(model.get(key), kind):
            raise CheckpointError(f"model.{key} is {model.get(key)!r:.60}, and must be {type_name(kind)}")
    if not isinstance(model["backbone"].get("name"), str):
        raise CheckpointError("model.backbone has no name")


def _check_statistics(preprocess: Mapping[str, Any]) -> None:
    """Check mean and standard deviation, without which every prediction would be meaningless."""
    for name in ("mean", "std"):
        values = preprocess.get(name)
        if values is None:
            continue
        is_valid = has_type(values, list[float]) and len(values) == 3 and all(map(math.isfinite, values))
        if not is_valid or (name == "std" and min(values) <= 0):
            raise CheckpointError(f"preprocess.{name} is {values!r:.60}, and must be three numbers, for std positive")


def type_name(kind: Any) -> str:
    """Return a type as it is written in code, for messages; in Python 3.10, some unions print as `Optional`."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        return " | ".join(map(type_name, typing.get_args(kind)))
    if kind is types.NoneType:
        return "None"
    return kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind).replace("typing.", "")
