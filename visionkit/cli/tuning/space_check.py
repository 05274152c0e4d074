"""Check of all values of a sweep against the code that gets them, before the first trial."""

import itertools
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from visionkit.cli.config.build import build_data, build_task, build_trainer
from visionkit.cli.config.compose import compose
from visionkit.cli.config.merge import saying_where
from visionkit.cli.config.schema import check
from visionkit.cli.training import recipe_callbacks
from visionkit.cli.tuning.search_space import Dimension
from visionkit.errors import ConfigError, VisionkitError

MOST_COMBINATIONS = 200
"""Largest number of combinations whose keys and names are checked."""

MOST_SHOWN = 4
"""Number of wrong values that a message names."""


def check_space(words: Sequence[str], space: Sequence[Dimension]) -> None:
    """Check each value with the recipe's own other values, and the keys and names of all combinations.

    Of ranges, the two ends are checked.

    Raises:
        ConfigError: values cannot be used; the message names them all, or the first ones of many.
        VisionkitError: the recipe itself cannot be used.
    """
    problems: dict[str, str] = {}
    alone = [[f"{dimension.key}={value}"] for dimension in space for value in dimension.examples]
    with _quiet():
        _check(words, builds=True)
        for given in alone:
            _try(words, given, problems, builds=True)
        for given in [] if problems else itertools.islice(_combinations(space), MOST_COMBINATIONS):
            _try(words, given, problems, builds=False)
    if problems:
        lines = [f"{given}: {reason}" for given, reason in problems.items()]
        more = [f"and {len(lines) - MOST_SHOWN + 1} more"] if len(lines) > MOST_SHOWN else []
        raise ConfigError("\n".join(["--vary has values that cannot be used", *lines[: MOST_SHOWN - len(more)], *more]))


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the messages of the construction, which the trials repeat."""
    own = logging.getLogger("visionkit")
    level = own.level
    own.setLevel(logging.ERROR)
    try:
        yield
    finally:
        own.setLevel(level)


def _combinations(space: Sequence[Dimension]) -> Iterator[list[str]]:
    of_keys = [[f"{dimension.key}={value}" for value in dimension.examples] for dimension in space]
    return map(list, itertools.product(*of_keys))


def _check(words: Sequence[str], builds: bool) -> None:
    """Check the keys and names of a recipe; with `builds`, also what its run is made of."""
    recipe = compose(words)
    check(recipe)
    if builds:
        with saying_where(recipe):
            task = build_task(recipe.values, build_data(recipe.values))
            callbacks = recipe_callbacks(recipe.values, Path("unused"), task.monitor, None)
            build_trainer(recipe.values, callbacks, False)


def _try(words: Sequence[str], given: list[str], problems: dict[str, str], builds: bool) -> None:
    try:
        _check([*words, *given], builds)
    except VisionkitError as error:
        first, *others = str(error).splitlines()
        problems[" ".join(given)] = f"{first} {others[0].strip()}" if first.endswith(":") and others else first
