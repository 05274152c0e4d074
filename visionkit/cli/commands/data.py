"""`visionkit data`: write, check, audit, show, download, convert or pack a card, search proposals, choose anchors."""

import argparse
from typing import Any

from visionkit.cli.arguments import WORDS_HELP, add_command, add_plugin_option, import_plugin_files, plugin_overrides
from visionkit.cli.config.compose import compose, is_override
from visionkit.cli.config.merge import saying_where
from visionkit.cli.config.schema import check_data

ACTIONS = ("init", "check", "audit", "show", "download", "convert", "pack", "proposals", "anchors")
USAGE = (
    f"{'|'.join(ACTIONS)} FOLDER|CARD [key=value ...] [--to F OUT] [--format F] [--mode M] [--split S] [--count N] "
    "[--size P] [--output FILE] [--augment] [--check] [--link] [--shard-mb N] [--short-side P] [--quality Q] "
    "[--write CARD] [--fail-on S] [--backbone B] "
    "[--weights FILE] [--features FOLDER] [--groups RULE] [--plugin FILE.py]"
)
EXAMPLES = """examples:
  visionkit data init photos/ > data/mine.yaml                         write the card of a folder
  visionkit data check data/mine.yaml                                  before a night of training
  visionkit data audit data/mine.yaml --output audit.html              duplicates, leaks, faulty boxes, suspect labels
  visionkit data audit data/mine.yaml --write data/clean.yaml          a card without what is wrong for sure
  visionkit data show data/mine.yaml --output mine.html                images, objects and statistics as one HTML file
  visionkit data show recipes/retinanet_resnet50.yaml data/mine.yaml --augment
  visionkit data download coco2017 data.root=/data/coco
  visionkit data convert data/mine.yaml --to coco mine_coco/ --check   the same data in another format
  visionkit data pack data/mine.yaml mine_packed/ --short-side 800     shards for training from a web server or bucket
  visionkit data proposals data/voc2007.yaml --mode quality --split train
  visionkit data anchors data/bccd.yaml --count 5 --size 416           shapes for model.anchors of yolov2
"""
OPTIONS = {
    "format": ("init",),
    "to": ("convert",),
    "check": ("convert",),
    "link": ("convert",),
    "mode": ("proposals",),
    "split": ("proposals", "show", "convert", "pack", "audit"),
    "count": ("anchors", "show", "audit"),
    "size": ("anchors",),
    "output": ("show", "audit"),
    "write": ("audit",),
    "fail_on": ("audit",),
    "backbone": ("audit",),
    "weights": ("audit",),
    "features": ("audit",),
    "groups": ("audit",),
    "augment": ("show",),
    "shard_mb": ("pack",),
    "short_side": ("pack",),
    "quality": ("pack",),
}
"""Actions of each option."""


def add(commands: Any) -> None:
    """Add the parser of the command."""
    text = "write, check, audit, show, download, convert or pack a card, search proposals, choose anchors"
    parser = add_command(commands, "data", run, text, USAGE, EXAMPLES)
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("words", nargs="+", metavar="CARD | key=value", help=WORDS_HELP)
    parser.add_argument("--format", metavar="F", help="init: the data format, if several are recognized")
    parser.add_argument("--mode", metavar="M", help="proposals: single, fast or quality selective search")
    parser.add_argument("--to", metavar="F", help="convert: coco, voc, yolo, labelme, cvat or masks; OUT follows")
    parser.add_argument("--check", action="store_true", default=None, help="convert: read the result, and compare")
    parser.add_argument("--link", action="store_true", default=None, help="convert: hard links instead of copies")
    parser.add_argument("--split", metavar="S", help="proposals, show, convert, pack, audit: only this split")
    text = "anchors: how many (default 5); show: images of each split (60); audit: images of the quick models (5000)"
    parser.add_argument("--count", type=int, metavar="N", help=text)
    parser.add_argument("--size", type=int, metavar="P", help="anchors: side of the model's input in pixels (416)")
    parser.add_argument("--output", metavar="FILE", help="show, audit: HTML file to write (show: data.html)")
    text = "show: also training images after augmentation"
    parser.add_argument("--augment", action="store_true", default=None, help=text)
    parser.add_argument("--shard-mb", type=int, metavar="N", help="pack: size of a shard in megabytes (64)")
    text = "pack: make larger images smaller, to this length of their shorter side in pixels"
    parser.add_argument("--short-side", type=int, metavar="P", help=text)
    parser.add_argument("--quality", type=int, metavar="Q", help="pack: JPEG quality of images made smaller (92)")
    parser.add_argument("--write", metavar="CARD", help="audit: card to write that leaves out what is wrong for sure")
    text = "audit: exit status 1 from this severity on: error (default), warning or never"
    parser.add_argument("--fail-on", metavar="S", help=text)
    text = "audit: backbone of the quick models (default: one whose weights are on disk; none: no such checks)"
    parser.add_argument("--backbone", metavar="B", help=text)
    parser.add_argument("--weights", metavar="FILE", help="audit: file of the backbone's weights")
    text = "audit: images that belong together: auto (told from names), none, or a regular expression"
    parser.add_argument("--groups", metavar="RULE", help=text)
    parser.add_argument("--features", metavar="FOLDER", help="audit: folder of cached features (runs/features)")
    add_plugin_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check the card, and run the action."""
    if arguments.action == "init":
        return _init(arguments)
    options = {name: value for name in OPTIONS if (value := vars(arguments)[name]) is not None}
    for name in options:
        if arguments.action not in OPTIONS[name]:
            actions = " and ".join(f"`visionkit data {action}`" for action in OPTIONS[name])
            arguments.parser.error(f"--{name.replace('_', '-')} goes with {actions}")
    if arguments.action in ("convert", "pack"):
        options["out"] = _take_folder(arguments)
    if arguments.action == "audit":
        options["words"] = arguments.words
    card = compose([*arguments.words, *plugin_overrides(arguments)])
    check_data(card)
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


def _take_folder(arguments: argparse.Namespace) -> str:
    """Take the folder of the result out of the words, of which it is the last that is no override, and return it."""
    places = [index for index, word in enumerate(arguments.words) if not is_override(word)]
    if len(places) < 2 or (arguments.action == "convert" and arguments.to is None):
        needed = "a card, --to FORMAT," if arguments.action == "convert" else "a card"
        arguments.parser.error(f"visionkit data {arguments.action} takes {needed} and the folder of the result")
    folder: str = arguments.words.pop(places[-1])
    return folder
