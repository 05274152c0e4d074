"""`visionkit report`: an HTML page about a checkpoint."""

import argparse
from typing import Any

from visionkit.cli.arguments import add_command, add_plugin_option, import_plugin_files, plugin_overrides
from visionkit.cli.checkpoint_file import check_checkpoint_files
from visionkit.cli.commands.score import SPLITS, check_overrides

USAGE = "CKPT [CARD] [key=value ...] [--split test|val] [--output FILE.html] [--images N] [--plugin FILE.py]"
EXAMPLES = """examples:
  visionkit report runs/faster_rcnn_resnet50/1/best.ckpt                      report.html beside the checkpoint
  visionkit report runs/unet/1/best.ckpt data/other.yaml --split val --output other.html --images 200
"""
IMAGES = 60


def add(commands: Any) -> None:
    """Add the parser of the command."""
    text = "score a checkpoint, and write a page with metrics, plots, errors and images"
    parser = add_command(commands, "report", run, text, USAGE, EXAMPLES)
    parser.add_argument("checkpoint", metavar="CKPT", help="a checkpoint that fit has written")
    parser.add_argument("words", nargs="*", metavar="CARD | key=value", help="another card, and keys as for test")
    parser.add_argument("--split", choices=sorted(SPLITS.values()), help="split that is scored; default: test, or val")
    parser.add_argument("--output", metavar="FILE.html", help="default: report.html beside the checkpoint")
    parser.add_argument("--images", type=int, default=IMAGES, metavar="N", help=f"images per head; default: {IMAGES}")
    add_plugin_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check the words, and write the page."""
    if arguments.images < 1:
        arguments.parser.error("--images must be 1 or more")
    check_overrides(arguments.words)
    check_checkpoint_files([arguments.checkpoint])
    import_plugin_files(arguments.plugin)
    words = [*arguments.words, *plugin_overrides(arguments)]
    from visionkit.cli.reporting import report

    return report(arguments.checkpoint, words, arguments.split, arguments.output, arguments.images)
