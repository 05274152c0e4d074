"""`visionkit extract`: a head of a model as a checkpoint of its own."""

import argparse
from typing import Any

from visionkit.cli.arguments import add_command, add_plugin_option, import_plugin_files
from visionkit.cli.checkpoint_file import check_checkpoint_files

USAGE = "CKPT HEAD [--output CKPT] [--plugin FILE.py]"
EXAMPLES = """examples:
  visionkit extract runs/multi_shapes_resnet18/1/best.ckpt objects                    writes objects.ckpt beside it
  visionkit extract runs/multi_shapes_resnet18/1/best.ckpt tags --output tags.ckpt
"""


def add(commands: Any) -> None:
    """Add the parser of the command."""
    text = "write a head of a model of several heads as an ordinary checkpoint"
    parser = add_command(commands, "extract", run, text, USAGE, EXAMPLES)
    parser.add_argument("checkpoint", metavar="CKPT", help="a checkpoint of a model of several heads")
    parser.add_argument("head", metavar="HEAD", help="name of the head")
    parser.add_argument("--output", metavar="CKPT", help="path of the new checkpoint")
    add_plugin_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Import the plugins, and write the checkpoint."""
    check_checkpoint_files([arguments.checkpoint])
    import_plugin_files(arguments.plugin)
    from visionkit.cli.extraction import extract

    return extract(arguments.checkpoint, arguments.head, arguments.output)
