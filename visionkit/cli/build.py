"""Values of a recipe checked against the types of the code they go to, by jsonargparse, and made into objects."""

import re
from collections.abc import Callable
from typing import Any

from jsonargparse import ArgumentError, ArgumentParser, Namespace

from visionkit.errors import RecipeError

MOST_LINES = 3


def parse_section(target: Callable[..., Any], values: dict[str, Any], key: str, **given: Any) -> dict[str, Any]:
    """The keyword arguments for a class or function: typed, with nested objects made.

    Args:
        target: the class or function they are for.
        values: a section of a recipe.
        key: dotted path of the section, for messages.
        **given: arguments that do not come from the recipe.

    Raises:
        RecipeError: a value has the wrong type, or one without default is missing.
    """
    parser = ArgumentParser(exit_on_error=False)
    if isinstance(target, type):
        parser.add_class_arguments(target, None, skip=set(given), fail_untyped=False)
    else:
        parser.add_function_arguments(target, None, skip=set(given), fail_untyped=False)
    try:
        parsed = parser.parse_object(values)
        made = parser.instantiate(parsed) if hasattr(parser, "instantiate") else parser.instantiate_classes(parsed)
    except (ArgumentError, TypeError, ValueError) as error:
        raise RecipeError(_explain(str(error), values, key)) from error
    return {name: _plain(value) for name, value in vars(made).items()} | given


def instantiate(target: Callable[..., Any], values: dict[str, Any], key: str, **given: Any) -> Any:
    """Call `target` with a section of a recipe and the `given` arguments; see `parse_section`."""
    return target(**parse_section(target, values, key, **given))


def _plain(value: Any) -> Any:
    return value.as_dict() if isinstance(value, Namespace) else value


def _explain(reason: str, values: dict[str, Any], key: str) -> str:
    """jsonargparse's reason in a line: the full key, its value, and the type it should have."""
    named = re.search(r'[Kk]ey "([^"]+)"', reason)
    expected = re.search(r"Expected a (.+?)\. Got", reason) or re.search(r"Subtypes: [\[(](.+?)[\])]\n", reason + "\n")
    if named is None or expected is None:
        lines = [line.strip() for line in reason.splitlines() if line.strip()]
        return "\n".join([f"{key} cannot be used:", *lines[:MOST_LINES]])
    kind = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", expected[1]).replace("typing.", "")
    return f"{key}.{named[1]} is {values.get(named[1])!r}, and must be: {kind}"
