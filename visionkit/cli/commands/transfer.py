"""`visionkit transfer advise`: how to use pretrained weights for a dataset."""

import argparse
from typing import Any

from visionkit.cli.arguments import WORDS_HELP, add_command, add_plugin_option, import_plugin_files, plugin_overrides
from visionkit.cli.config.compose import with_default_recipe
from visionkit.cli.config.merge import saying_where
from visionkit.cli.config.multi_cards import refuse_multi
from visionkit.cli.config.schema import check

USAGE = "advise [RECIPE] CARD [key=value ...] [--plugin FILE.py]"
EXAMPLES = """examples:
  visionkit transfer advise data/mine.yaml                             do pretrained weights fit these images?
  visionkit transfer advise data/mine.yaml model.backbone=densenet121
"""
DEFAULT_RECIPE = "transfer_head"


def add(commands: Any) -> None:
    """Add the parser of the command."""
    parser = add_command(commands, "transfer", run, "how to use pretrained weights for a card", USAGE, EXAMPLES)
    parser.add_argument("action", choices=["advise"])
    parser.add_argument("words", nargs="+", metavar="RECIPE | CARD | key=value", help=WORDS_HELP)
    add_plugin_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check the recipe and the card, and compare the images with the training data of the pretrained weights."""
    recipe = with_default_recipe([*arguments.words, *plugin_overrides(arguments)], DEFAULT_RECIPE)
    check(recipe)
    refuse_multi(recipe)
    from visionkit.cli.advice import advise

    import_plugin_files(recipe.values.get("plugins") or [])
    with saying_where(recipe):
        return advise(recipe.values, arguments.words)
