"""Values of a recipe checked against the types of the code they go to, by jsonargparse, and made into objects."""

import inspect
import re
from collections.abc import Callable
from copy import deepcopy
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from visionkit.cli.config.layers import WrongValueError

MOST_LINES = 2


def parse_section(target: Callable[..., Any], values: dict[str, Any] | None, key: str, **given: Any) -> dict[str, Any]:
    """The keyword arguments for a class or function: typed, with nested objects made.

    Args:
        target: the class or function they are for.
        values: a section of a recipe; None where it is empty.
        key: dotted path of the section, for messages.
        **given: arguments that do not come from the recipe.

    Raises:
        WrongValueError: a value has the wrong type, or one without default is missing.
    """
    parser = ArgumentParser(exit_on_error=False)
    if isinstance(target, type):
        parser.add_class_arguments(target, None, skip=set(given), fail_untyped=False)
    else:
        parser.add_function_arguments(target, None, skip=set(given), fail_untyped=False)
    values = values or {}
    free = _passed_on(target, values)
    try:
        # a copy, since parsing puts jsonargparse's own objects into nested lists
        parsed = parser.parse_object(deepcopy({name: value for name, value in values.items() if name not in free}))
        made = parser.instantiate(parsed) if hasattr(parser, "instantiate") else parser.instantiate_classes(parsed)
    except (ArgumentError, TypeError, ValueError) as error:
        raise _explained(str(error), values, key) from error
    return {name: _plain(value) for name, value in vars(made).items()} | free | given


def instantiate(target: Callable[..., Any], values: dict[str, Any] | None, key: str, **given: Any) -> Any:
    """Call `target` with a section of a recipe and the `given` arguments; see `parse_section` and `call`."""
    return call(target, parse_section(target, values, key, **given), key)


def call(target: Callable[..., Any], arguments: dict[str, Any], key: str) -> Any:
    """Call `target` with the arguments that the section `key` of a recipe has led to.

    Raises:
        WrongValueError: it refuses values that have the right type (an accelerator that does not exist).
    """
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    try:
        return target(**arguments)
    except (TypeError, ValueError, MisconfigurationException) as error:
        reason = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise WrongValueError(
            "\n".join([f"{key} cannot be used:", *reason[:MOST_LINES]]), tuple(key.split("."))
        ) from error


def _plain(value: Any) -> Any:
    return value.as_dict() if isinstance(value, Namespace) else value


def _passed_on(target: Callable[..., Any], values: dict[str, Any]) -> dict[str, Any]:
    """The values that a function with `**options` hands on to something that only it knows."""
    known = inspect.signature(target).parameters
    if isinstance(target, type) or not any(kind.kind is kind.VAR_KEYWORD for kind in known.values()):
        return {}
    return {name: value for name, value in values.items() if name not in known}


def _explained(reason: str, values: dict[str, Any], key: str) -> WrongValueError:
    """What jsonargparse has to say, in a line: the full key, its value, and the type it should have."""
    named = re.search(r'[Kk]ey "([^"]+)"', reason)
    expected = re.search(r"Expected a (.+?)\. Got", reason) or re.search(r"Subtypes: [\[(](.+?)[\])]\n", reason + "\n")
    path = tuple(key.split("."))
    if named is None or expected is None:
        lines = [line.strip() for line in reason.splitlines() if line.strip()]
        return WrongValueError("\n".join([f"{key} cannot be used:", *lines[:MOST_LINES]]), path)
    path = (*path, named[1])
    broken = re.search(r"Problem with given class_path '([^']+)':\s*(.+)", reason)
    if broken is not None:
        return WrongValueError(f"{'.'.join(path)}: {broken[1]} cannot be made: {broken[2].rstrip(':')}", path)
    kind = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", expected[1]).replace("typing.", "")
    return WrongValueError(f"{'.'.join(path)} is {values.get(named[1])!r}, and must be: {kind}", path)
