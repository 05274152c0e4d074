"""The composed recipe of words, checked as far as it can be without torch."""

from collections.abc import Sequence

from visionkit.cli.config.compose import compose
from visionkit.cli.config.data_source import check_data_source
from visionkit.cli.config.merge import Layer
from visionkit.cli.config.schema import check


def checked_recipe(words: Sequence[str]) -> Layer:
    """Return the composed recipe of files and overrides.

    Raises:
        ConfigError: its keys or its kind of data cannot be used.
        DataError: the folder of its data does not exist.
    """
    recipe = compose(words)
    check(recipe)
    check_data_source(recipe)
    return recipe
