"""`visionkit data`: check or download the data of a card, search proposals, choose anchors."""

import argparse
from typing import Any

from visionkit.cli.arguments import WORDS_HELP, add_command, add_plugin_option, import_plugin_files, plugin_overrides
from visionkit.cli.config.compose import compose
from visionkit.cli.config.merge import saying_where
from visionkit.cli.config.schema import check_data

ACTIONS = ("check", "download", "proposals", "anchors")
USAGE = f"{'|'.join(ACTIONS)} CARD [key=value ...] [--mode M] [--split S] [--count N] [--size P] [--plugin FILE.py]"
EXAMPLES = """examples:
  visionkit data check data/mine.yaml                                  before a night of training
  visionkit data download coco2017 data.root=/data/coco
  visionkit data proposals data/voc2007.yaml --mode quality --split train
  visionkit data anchors data/bccd.yaml --count 5 --size 416           shapes for model.anchors of yolov2
"""
OPTIONS = {"mode": "proposals", "split": "proposals", "count": "anchors", "size": "anchors"}
"""Action of each option."""


def add(commands: Any) -> None:
    """Add the parser of the command."""
    text = "check or download the data of a card, search proposals, choose anchors"
    parser = add_command(commands, "data", run, text, USAGE, EXAMPLES)
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("words", nargs="+", metavar="CARD | key=value", help=WORDS_HELP)
    parser.add_argument("--mode", metavar="M", help="proposals: single, fast or quality selective search")
    parser.add_argument("--split", metavar="S", help="proposals: only this split")
    parser.add_argument("--count", type=int, metavar="N", help="anchors: how many (default 5)")
    parser.add_argument("--size", type=int, metavar="P", help="anchors: side of the model's input in pixels (416)")
    add_plugin_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check the card, and run the action."""
    card = compose([*arguments.words, *plugin_overrides(arguments)])
    check_data(card)
    options = {name: value for name in OPTIONS if (value := vars(arguments)[name]) is not None}
    for name in options:
        if OPTIONS[name] != arguments.action:
            arguments.parser.error(f"--{name} goes with `visionkit data {OPTIONS[name]}`")
    from visionkit.cli import data_tools

    import_plugin_files(card.values.get("plugins", []))
    with saying_where(card):
        return data_tools.TOOLS[arguments.action](card.values, **options)
