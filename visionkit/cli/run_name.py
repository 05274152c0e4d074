"""Names of a run from the words of a command. This module does not import torch."""

import os
from collections.abc import Sequence

from visionkit.cli.config.compose import is_override, lacks_recipe
from visionkit.engine.run_folder import RunName
from visionkit.errors import ConfigError

PACKED_CARD = "card.yaml"
"""Name of the card that `visionkit data pack` writes into its folder."""


def run_name(words: Sequence[str]) -> RunName:
    """Return the names of the recipe and of the cards, without the suffix."""
    files = [word for word in words if not is_override(word)]
    if not files:
        raise ConfigError("a recipe is missing: visionkit list recipes")
    names = [_name_of(file.replace("\\", "/")) for file in files]
    return RunName(None, names) if lacks_recipe(words) else RunName(names[0], names[1:])


def _name_of(file: str) -> str:
    """Return the name of a file or folder without its suffix; of the card in a packed folder, that of the folder."""
    folder, name = os.path.split(file)
    path = folder if folder and name == PACKED_CARD else file
    return os.path.basename(os.path.abspath(path)).removesuffix(".yaml")
