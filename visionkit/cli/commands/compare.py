"""`visionkit compare`: the difference of two checkpoints on the same images, and whether it is more than chance."""

import argparse
from typing import Any

from visionkit.cli.arguments import add_command, add_plugin_option, import_plugin_files, plugin_overrides
from visionkit.cli.checkpoint_file import check_checkpoint_files
from visionkit.cli.commands.score import SPLITS, check_overrides

USAGE = "CKPT CKPT [CARD] [key=value ...] [--split test|val] [--output DIR] [--plugin FILE.py]"
EXAMPLES = """examples:
  visionkit compare runs/unet/1/best.ckpt runs/unet/2/best.ckpt              on the test split of the first one's data
  visionkit compare runs/retinanet/1/best.ckpt runs/faster_rcnn/1/best.ckpt data/other.yaml --split val
"""


def add(commands: Any) -> None:
    """Add the parser of the command."""
    text = "compare two checkpoints on the same images, with confidence intervals of the differences"
    parser = add_command(commands, "compare", run, text, USAGE, EXAMPLES)
    parser.add_argument(
        "first", metavar="CKPT", help="a checkpoint that fit has written; its data and evaluation are used"
    )
    parser.add_argument("second", metavar="CKPT", help="another checkpoint for the same classes")
    parser.add_argument("words", nargs="*", metavar="CARD | key=value", help="another card, and keys as for test")
    parser.add_argument("--split", choices=sorted(SPLITS.values()), help="split that is scored; default: test, or val")
    parser.add_argument("--output", metavar="DIR", help="folder for comparison.json")
    add_plugin_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check the words, and compare the checkpoints."""
    check_overrides(arguments.words)
    check_checkpoint_files([arguments.first, arguments.second])
    import_plugin_files(arguments.plugin)
    words = [*arguments.words, *plugin_overrides(arguments)]
    from visionkit.cli.comparing import compare

    return compare(arguments.first, arguments.second, words, arguments.split, arguments.output)
