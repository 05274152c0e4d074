"""`visionkit fit`: train a model."""

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from visionkit.cli.arguments import WORDS_HELP, add_command, add_plugin_option, import_plugin_files, plugin_overrides
from visionkit.cli.checkpoint_file import check_checkpoint_files
from visionkit.cli.config.compose import compose, is_override, lacks_recipe
from visionkit.cli.config.data_source import check_data_folder, check_data_source
from visionkit.cli.config.merge import COMMAND_LINE, Layer, saying_where
from visionkit.cli.config.schema import check
from visionkit.cli.run_name import run_name
from visionkit.engine.run_folder import RECIPE_FILE, RunName, latest_checkpoint

USAGE = (
    "[RECIPE] [CARD ...] [key=value ...] [--resume [CKPT]] [--minutes N] [--folder DIR] [--plugin FILE.py] [--dry-run]"
)
LENGTHS = ("trainer.max_epochs=", "trainer.max_steps=", "trainer.max_time=", "trainer.fast_dev_run=")
"""Overrides that say how long to train."""

EXAMPLES = """examples:
  visionkit fit recipes/faster_rcnn_resnet50.yaml                      train on the built-in data
  visionkit fit faster_rcnn_resnet50 coco2017 data.root=/data/coco     built-in recipes and cards by name
  visionkit fit recipes/faster_rcnn_resnet50.yaml optimizer.lr=0.01 data.augment.0.p=0.3
  visionkit fit data/mine.yaml --minutes 30                            make a recipe for a card, and train
  visionkit fit data/mine.yaml --dry-run > my_recipe.yaml              write that recipe into a file
  visionkit fit recipes/faster_rcnn_resnet50.yaml --resume             continue the newest run
  visionkit fit faster_rcnn_efficientnet_lite0 data/mine.yaml --minutes 30    as well as it can in half an hour
  visionkit fit my_recipe.yaml --plugin my_model.py                    with a model of your own
"""


def add(commands: Any) -> None:
    """Add the parser of the command."""
    parser = add_command(commands, "fit", run, "train a model", USAGE, EXAMPLES)
    parser.add_argument("words", nargs="+", metavar="RECIPE | CARD | key=value", help=WORDS_HELP)
    parser.add_argument(
        "--resume", nargs="?", const="last", metavar="CKPT", help="continue from a checkpoint, or from the newest run"
    )
    add_plugin_option(parser)
    text = "train for N minutes, the last validation included, instead of for the recipe's epochs"
    parser.add_argument("--minutes", type=float, metavar="N", help=text)
    text = "run folder, new or empty, instead of runs/<recipe>-<card>/<n>"
    parser.add_argument("--folder", type=Path, metavar="DIR", help=text)
    parser.add_argument("--dry-run", action="store_true", help="print the composed recipe and stop")


def run(arguments: argparse.Namespace) -> int:
    """Check the recipe, and train the model."""
    deadline = _deadline(arguments)
    if arguments.folder is not None and arguments.resume is not None:
        arguments.parser.error("--resume continues in the folder of its run: leave out --folder")
    if arguments.resume not in (None, "last"):
        check_checkpoint_files([arguments.resume])
    name = run_name(arguments.words)
    words = [*arguments.words, *plugin_overrides(arguments)]
    recipe = _recipe_for_card(words, arguments, name) if lacks_recipe(words) else compose(words)
    check(recipe)
    if arguments.dry_run:
        _print_recipe(recipe)
        return 0
    check_data_source(recipe)
    if arguments.resume == "last":
        latest_checkpoint(name)  # an error if there is none
    from visionkit.cli.training import TimeLimit, train

    import_plugin_files(recipe.values.get("plugins") or [])
    with saying_where(recipe):
        is_given = recipe.origin(("trainer", "max_epochs")) == COMMAND_LINE
        limit = None if deadline is None else TimeLimit(arguments.minutes, deadline)
        return train(
            recipe.values,
            name=name,
            resume=arguments.resume,
            fixed_length=is_given,
            time_limit=limit,
            folder=arguments.folder,
        )


def _recipe_for_card(words: Sequence[str], arguments: argparse.Namespace, name: RunName) -> Layer:
    """Return the recipe that is made for a card, or that of the run that is resumed."""
    if arguments.resume is not None:
        checkpoint = latest_checkpoint(name) if arguments.resume == "last" else Path(arguments.resume)
        return compose([str(checkpoint.parent / RECIPE_FILE), *filter(is_override, words)])
    check_data_folder(compose(words))
    from visionkit.cli.automatic.make_recipe import make_recipe

    return make_recipe(words, arguments.minutes)


def _deadline(arguments: argparse.Namespace) -> float | None:
    """Return the time of `time.monotonic` at which `--minutes` are over; None without the option."""
    if arguments.minutes is None:
        return None
    if not 0 < arguments.minutes < math.inf:
        arguments.parser.error(f"--minutes {arguments.minutes:g} must be above 0")
    for word in arguments.words:
        if word.startswith(LENGTHS) and is_override(word):
            arguments.parser.error(f"--minutes and {word} both say how long to train: give one of them")
    return time.monotonic() + 60 * float(arguments.minutes)


def _print_recipe(recipe: Layer) -> None:
    import yaml

    print(yaml.safe_dump(recipe.values, sort_keys=False, allow_unicode=True), end="")
