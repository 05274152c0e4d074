"""`visionkit evaluate`: score predictions of any program."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from visionkit.cli.arguments import add_command, add_plugin_option, import_plugin_files, plugin_overrides
from visionkit.cli.commands.score import SPLITS
from visionkit.cli.config.compose import compose, is_override
from visionkit.cli.config.merge import saying_where
from visionkit.cli.config.schema import check_data
from visionkit.data.io.paths import require_existing
from visionkit.errors import ConfigError

USAGE = "PREDICTIONS CARD [key=value ...] [--split test|val] [--metric M] [--multi-label] [--output DIR]"
EXAMPLES = """examples:
  visionkit evaluate detections.json data/mine.yaml                    boxes or masks in COCO's results format
  visionkit evaluate masks/ data/my_masks.yaml --split val             PNG files with the class of each pixel
  visionkit evaluate probabilities.csv data/my_classes.yaml            columns: image, and one per class
"""

METRIC = "evaluation.metric="
"""Start of the override that does the same as `--metric`."""

KEYS = ("data", "plugins", "evaluation.metric", "evaluation.boundaries")
"""Keys, and sections, that can be given as overrides."""


def add(commands: Any) -> None:
    """Add the parser of the command."""
    text = "score predictions of any program as test scores a checkpoint"
    parser = add_command(commands, "evaluate", run, text, USAGE, EXAMPLES)
    parser.add_argument("predictions", metavar="PREDICTIONS", help="a .json or .csv file, or a folder of PNG masks")
    parser.add_argument("words", nargs="+", metavar="CARD | key=value", help="the data card, and overrides")
    parser.add_argument("--split", choices=sorted(SPLITS.values()), help="split that is scored; default: test, or val")
    parser.add_argument("--metric", metavar="M", help="coco, coco_masks, voc07 or voc10; default: that of the card")
    parser.add_argument("--multi-label", action="store_true", help="an image can have several classes (.csv)")
    parser.add_argument("--output", metavar="DIR", help="folder for metrics.json and curves.json")
    add_plugin_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check the card, and score the predictions."""
    require_existing(Path(arguments.predictions))
    check_overrides(arguments.words)
    card = compose([*arguments.words, *plugin_overrides(arguments)])
    check_data(card)
    import_plugin_files(card.values.get("plugins") or [])
    from visionkit.cli.evaluation import evaluate

    given = arguments
    metric = given.metric or next((word[len(METRIC) :] for word in given.words if word.startswith(METRIC)), None)
    with saying_where(card):
        return evaluate(given.predictions, card.values, given.split, metric, given.multi_label, given.output)


def check_overrides(words: Sequence[str]) -> None:
    """Raise ConfigError for overrides of keys that have no effect on predictions that are made already."""
    for word in filter(is_override, words):
        key = word.partition("=")[0]
        if not any(key == known or key.startswith(f"{known}.") for known in KEYS):
            raise ConfigError(
                f"{key} has no effect here: the predictions are made already\n"
                "evaluate takes keys that begin with data., evaluation.metric and evaluation.boundaries"
            )
