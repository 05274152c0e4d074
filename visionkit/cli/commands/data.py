"""`visionkit data`: write, check or download a card, search proposals, choose anchors."""

import argparse
from typing import Any

from visionkit.cli.arguments import WORDS_HELP, add_command, add_plugin_option, import_plugin_files, plugin_overrides
from visionkit.cli.config.compose import compose
from visionkit.cli.config.merge import saying_where
from visionkit.cli.config.schema import check_data

ACTIONS = ("init", "check", "download", "proposals", "anchors")
USAGE = (
    f"{'|'.join(ACTIONS)} FOLDER|CARD [key=value ...] [--format F] [--mode M] [--split S] [--count N] [--size P] "
    "[--plugin FILE.py]"
)
EXAMPLES = """examples:
  visionkit data init photos/ > data/mine.yaml                         write the card of a folder
  visionkit data check data/mine.yaml                                  before a night of training
  visionkit data download coco2017 data.root=/data/coco
  visionkit data proposals data/voc2007.yaml --mode quality --split train
  visionkit data anchors data/bccd.yaml --count 5 --size 416           shapes for model.anchors of yolov2
"""
OPTIONS = {"format": "init", "mode": "proposals", "split": "proposals", "count": "anchors", "size": "anchors"}
"""Action of each option."""


def add(commands: Any) -> None:
    """Add the parser of the command."""
    text = "write, check or download a card, search proposals, choose anchors"
    parser = add_command(commands, "data", run, text, USAGE, EXAMPLES)
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("words", nargs="+", metavar="CARD | key=value", help=WORDS_HELP)
    parser.add_argument("--format", metavar="F", help="init: the data format, if several are recognized")
    parser.add_argument("--mode", metavar="M", help="proposals: single, fast or quality selective search")
    parser.add_argument("--split", metavar="S", help="proposals: only this split")
    parser.add_argument("--count", type=int, metavar="N", help="anchors: how many (default 5)")
    parser.add_argument("--size", type=int, metavar="P", help="anchors: side of the model's input in pixels (416)")
    add_plugin_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check the card, and run the action."""
    if arguments.action == "init":
        return _init(arguments)
    card = compose([*arguments.words, *plugin_overrides(arguments)])
    check_data(card)
    options = {name: value for name in OPTIONS if (value := vars(arguments)[name]) is not None}
    for name in options:
        if OPTIONS[name] != arguments.action:
            arguments.parser.error(f"--{name} goes with `visionkit data {OPTIONS[name]}`")
    from visionkit.cli import data_tools

    import_plugin_files(card.values.get("plugins") or [])
    with saying_where(card):
        return data_tools.TOOLS[arguments.action](card.values, **options)


def _init(arguments: argparse.Namespace) -> int:
    """Print the card of a folder. What was recognized goes to stderr."""
    from visionkit.cli import data_tools

    if len(arguments.words) != 1:
        arguments.parser.error("visionkit data init takes one folder")
    return data_tools.init(arguments.words[0], arguments.format)
