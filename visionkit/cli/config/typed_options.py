"""Type checks of recipe values with jsonargparse, and construction of objects from them."""

import inspect
import re
import typing
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace
from lightning.fabric.utilities.exceptions import MisconfigurationException

from visionkit.cli.config.merge import WrongValueError
from visionkit.errors import ConfigError, VisionkitError
from visionkit.limited_yaml import KeyPath
from visionkit.pipelines.description import argument_types, has_type, type_name

MAX_LINES = 2
"""Largest number of lines shown of another library's error message."""


UNUSABLE_VALUES = (TypeError, ValueError, OverflowError, MemoryError, RuntimeError, MisconfigurationException)
"""Exceptions of constructors for values that cannot be used; RuntimeError: a network too large for the memory."""


def parse_section(target: Callable[..., Any], values: dict[str, Any] | None, key: str, **given: Any) -> dict[str, Any]:
    """Return typed keyword arguments for a class or function, with nested objects constructed.

    Values of a parameter that is declared with `Any` are passed on as they are, because jsonargparse would take a
    mapping with a `class_path` in them for an object to construct, and so call any function that a recipe names.

    Args:
        target: class or function that takes the arguments.
        values: section of a recipe; None if it is empty.
        key: dotted path of the section, for messages.
        **given: arguments that do not come from the recipe.

    Raises:
        WrongValueError: a value has the wrong type, or a value without default is missing.
    """
    values = values or {}
    hints = argument_types(target)
    _check_types(values, hints, key)
    free = _passed_on(target, values, hints)
    parser = ArgumentParser(exit_on_error=False)
    add = parser.add_class_arguments if isinstance(target, type) else parser.add_function_arguments
    add(target, None, skip={*given, *free}, fail_untyped=False)
    try:
        # a copy, because jsonargparse inserts its own objects into nested lists
        parsed = parser.parse_object(deepcopy({name: value for name, value in values.items() if name not in free}))
        made = parser.instantiate(parsed) if hasattr(parser, "instantiate") else parser.instantiate_classes(parsed)
    except ConfigError as error:  # of an option dataclass
        raise _located(error, values, key) from error
    except (ArgumentError, TypeError, ValueError, OverflowError) as error:
        raise _explained(str(error), values, key) from error
    return {name: _plain(value) for name, value in vars(made).items()} | free | given


def instantiate(target: Callable[..., Any], values: dict[str, Any] | None, key: str, **given: Any) -> Any:
    """Call `target` with a section of a recipe and the `given` arguments; see `parse_section` and `call`."""
    return call(target, parse_section(target, values, key, **given), key, values)


def call(target: Callable[..., Any], arguments: dict[str, Any], key: str, values: dict[str, Any] | None = None) -> Any:
    """Call `target` with the arguments from the section `key` of a recipe.

    Args:
        target: class or function.
        arguments: keyword arguments of `target`.
        key: dotted path of the section, for messages.
        values: the section as written; None uses `arguments`.

    Raises:
        WrongValueError: `target` rejects values of the right type, for example an unknown accelerator.
    """
    try:
        return target(**arguments)
    except ConfigError as error:
        raise _located(error, arguments if values is None else values, key) from error
    except VisionkitError:
        raise
    except UNUSABLE_VALUES as error:
        reason = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise WrongValueError(
            "\n".join([f"{key} cannot be used:", *reason[:MAX_LINES]]), tuple(key.split("."))
        ) from error


def _plain(value: Any) -> Any:
    return value.as_dict() if isinstance(value, Namespace) else value


def _check_types(values: Any, hints: dict[str, Any], key: str) -> None:
    """Check the types that jsonargparse lets pass: null for any type, and values declared with `Any`.

    Raises:
        WrongValueError: a value does not fit.
    """
    if not isinstance(values, dict):
        raise WrongValueError(f"{key} must hold keys, not {values!r:.80}", tuple(key.split(".")))
    for name, value in values.items():
        kind = hints.get(name, Any)
        if (value is None or _holds_any(kind)) and not has_type(value, kind):
            shown = "null" if value is None else f"{value!r:.80}"
            raise WrongValueError(f"{key}.{name} is {shown}, and must be: {type_name(kind)}", (*key.split("."), name))


def _holds_any(kind: Any) -> bool:
    return kind is Any or any(map(_holds_any, typing.get_args(kind)))


def _passed_on(target: Callable[..., Any], values: dict[str, Any], hints: dict[str, Any]) -> dict[str, Any]:
    """Return the values that are passed on as they are, because their types are not declared."""
    parameters = inspect.signature(target).parameters
    is_open = not isinstance(target, type) and any(kind.kind is kind.VAR_KEYWORD for kind in parameters.values())
    return {
        name: value
        for name, value in values.items()
        if (name in parameters and _holds_any(hints.get(name))) or (name not in parameters and is_open)
    }


def _located(error: ConfigError, values: dict[str, Any], key: str) -> WrongValueError:
    """Return an error of library code, which contains argument names, with the key of the recipe.

    "iou=2 must be at most 1" of the section `model`, whose group `nms` has the key `iou`, becomes "model.nms.iou=2 must
    be at most 1", and "unknown schedule 'cosinus'" becomes "schedule.name: unknown schedule 'cosinus'".
    """
    if isinstance(error, WrongValueError):
        return error
    message, path = str(error), tuple(key.split("."))
    named = re.match(r"[\w.]+", message)
    if named and message.startswith(f"{key}."):  # the message has the full key
        return WrongValueError(message, tuple(named[0].split(".")))
    if found := _mentioned(message, values):
        group = ".".join((*path, *found[:-1]))
        return WrongValueError(f"{group}.{message}", (*path, *found))
    quoted = [name for name, value in values.items() if isinstance(value, str) and repr(value) in message]
    if len(quoted) == 1:
        return WrongValueError(f"{key}.{quoted[0]}: {message}", (*path, quoted[0]))
    return WrongValueError(message, path)


def _mentioned(message: str, values: Any) -> KeyPath | None:
    """Return the path of the value that an error is about, the first `name=value` of its message; None without one.

    If several groups have a key of this name, it is that of the group with the value of the message. If the first name
    has its default, the path is that of the next one that is given, with the group of both.
    """
    for name, shown in re.findall(r"\b(\w+)=(\[[^\]]*\]|[^\s,:]+)", message):
        paths = list(_paths_of(name, values))
        equal = [path for path, value in paths if str(value) == shown or repr(value) == shown]
        if paths:
            return equal[0] if equal else paths[0][0]
    named = re.match(r"\w+", message)
    if named and isinstance(values, dict) and named[0] in values:
        return (named[0],)
    return None


def _paths_of(name: str, values: Any, around: KeyPath = ()) -> Iterator[tuple[KeyPath, Any]]:
    """Yield path and value of each key `name` in nested mappings and lists, the outermost first."""
    inner = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in inner:
        if key == name:
            yield (*around, name), value
    for key, value in inner:
        yield from _paths_of(name, value, (*around, str(key)))


def _explained(reason: str, values: dict[str, Any], key: str) -> WrongValueError:
    """Return jsonargparse's message in one line, with the full key, its value and the expected type."""
    of_options = re.search(r"Errors:\n\s*- (?!Expected a )(.+)", reason)  # of an option dataclass that may also be None
    if of_options is not None and reason.startswith("Does not validate against any"):
        return _located(ConfigError(of_options[1]), values, key)
    named = re.search(r'[Kk]ey "([^"]+)"', reason)
    expected = re.search(r"Expected a (.+?)\. Got", reason) or re.search(r"Subtypes: [\[(](.+?)[\])]\n", reason + "\n")
    path = tuple(key.split("."))
    if named is None or expected is None:
        lines = [line.strip() for line in reason.splitlines() if line.strip()]
        return WrongValueError("\n".join([f"{key} cannot be used:", *lines[:MAX_LINES]]), path)
    path = (*path, *named[1].split("."))
    broken = re.search(r"Problem with given class_path '([^']+)':\s*(.+)", reason)
    if broken is not None:
        return WrongValueError(f"{'.'.join(path)}: {broken[1]} cannot be made: {broken[2].rstrip(':')}", path)
    kind = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", expected[1]).replace("typing.", "")
    return WrongValueError(f"{'.'.join(path)} is {_value_at(values, named[1])!r}, and must be: {kind}", path)


def _value_at(values: Any, dotted: str) -> Any:
    for key in dotted.split("."):
        values = values.get(key) if isinstance(values, dict) else None
    return values
