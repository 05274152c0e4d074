"""`visionkit data`: write, check, show or download a card, search proposals, choose anchors."""

import argparse
from typing import Any

from visionkit.cli.arguments import WORDS_HELP, add_command, add_plugin_option, import_plugin_files, plugin_overrides
from visionkit.cli.config.compose import compose
from visionkit.cli.config.merge import saying_where
from visionkit.cli.config.schema import check_data

ACTIONS = ("init", "check", "show", "download", "proposals", "anchors")
USAGE = (
    f"{'|'.join(ACTIONS)} FOLDER|CARD [key=value ...] [--format F] [--mode M] [--split S] [--count N] [--size P] "
    "[--output FILE] [--augment] [--plugin FILE.py]"
)
EXAMPLES = """examples:
  visionkit data init photos/ > data/mine.yaml                         write the card of a folder
  visionkit data check data/mine.yaml                                  before a night of training
  visionkit data show data/mine.yaml --output mine.html                images, objects and statistics as one HTML file
  visionkit data show recipes/retinanet_resnet50.yaml data/mine.yaml --augment
  visionkit data download coco2017 data.root=/data/coco
  visionkit data proposals data/voc2007.yaml --mode quality --split train
  visionkit data anchors data/bccd.yaml --count 5 --size 416           shapes for model.anchors of yolov2
"""
OPTIONS = {
    "format": ("init",),
    "mode": ("proposals",),
    "split": ("proposals", "show"),
    "count": ("anchors", "show"),
    "size": ("anchors",),
    "output": ("show",),
    "augment": ("show",),
}
"""Actions of each option."""


def add(commands: Any) -> None:
    """Add the parser of the command."""
    text = "write, check, show or download a card, search proposals, choose anchors"
    parser = add_command(commands, "data", run, text, USAGE, EXAMPLES)
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("words", nargs="+", metavar="CARD | key=value", help=WORDS_HELP)
    parser.add_argument("--format", metavar="F", help="init: the data format, if several are recognized")
    parser.add_argument("--mode", metavar="M", help="proposals: single, fast or quality selective search")
    parser.add_argument("--split", metavar="S", help="proposals, show: only this split")
    text = "anchors: how many (default 5); show: images of each split (default 60)"
    parser.add_argument("--count", type=int, metavar="N", help=text)
    parser.add_argument("--size", type=int, metavar="P", help="anchors: side of the model's input in pixels (416)")
    parser.add_argument("--output", metavar="FILE", help="show: HTML file to write (default data.html)")
    text = "show: also training images after augmentation"
    parser.add_argument("--augment", action="store_true", default=None, help=text)
    add_plugin_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check the card, and run the action."""
    if arguments.action == "init":
        return _init(arguments)
    card = compose([*arguments.words, *plugin_overrides(arguments)])
    check_data(card)
    options = {name: value for name in OPTIONS if (value := vars(arguments)[name]) is not None}
    for name in options:
        if arguments.action not in OPTIONS[name]:
            actions = " and ".join(f"`visionkit data {action}`" for action in OPTIONS[name])
            arguments.parser.error(f"--{name} goes with {actions}")
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
