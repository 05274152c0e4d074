"""Values of a recipe checked against the types of the code they go to, by jsonargparse, and made into objects."""

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
    add = parser.add_class_arguments if isinstance(target, type) else parser.add_function_arguments
    add(target, None, skip=set(given), fail_untyped=False, instantiate=False) if isinstance(target, type) else add(
        target, None, skip=set(given), fail_untyped=False
    )
    try:
        parsed = parser.instantiate_classes(parser.parse_object(values))
    except (ArgumentError, TypeError, ValueError) as error:
        raise RecipeError(_explain(error, key)) from error
    return {name: _plain(value) for name, value in vars(parsed).items()} | given


def instantiate(target: Callable[..., Any], values: dict[str, Any], key: str, **given: Any) -> Any:
    """Call `target` with a section of a recipe and the `given` arguments; see `parse_section`."""
    return target(**parse_section(target, values, key, **given))


def _plain(value: Any) -> Any:
    return value.as_dict() if isinstance(value, Namespace) else value


def _explain(error: Exception, key: str) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return "\n".join([f"a value under {key or 'the recipe'} cannot be used", *lines[:MOST_LINES]])
