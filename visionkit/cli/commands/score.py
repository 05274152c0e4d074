"""`visionkit validate` and `visionkit test`: score a checkpoint."""

import argparse
from collections.abc import Sequence
from typing import Any

from visionkit.cli.arguments import add_command, add_plugin_option, import_plugin_files, plugin_overrides
from visionkit.cli.checkpoint_file import check_checkpoint_files
from visionkit.cli.config.compose import compose, is_override
from visionkit.errors import ConfigError

USAGE = "CKPT [CKPT ...] [CARD] [key=value ...] [--output DIR] [--plugin FILE.py]"
EXAMPLES = """examples:
  visionkit {command} runs/faster_rcnn_resnet50/1/best.ckpt                 on the data it was trained with
  visionkit {command} runs/faster_rcnn_resnet50/1/best.ckpt data/other.yaml data.batch_size=4
  visionkit {command} runs/resnet50_imagenet/1/best.ckpt inference.tta_views=ten_crop      ten crops of each image
  visionkit {command} runs/vgg16/1/best.ckpt runs/vgg19/1/best.ckpt               the mean of two classifiers
"""
SPLITS = {"validate": "val", "test": "test"}
CHECKPOINT_SUFFIX = ".ckpt"
SECTIONS = ("data", "heads", "inference", "evaluation", "trainer")
"""Sections of a recipe that can be changed for a trained model. The other sections are part of the checkpoint."""


def add(commands: Any) -> None:
    """Add the parsers of both commands."""
    for name, split in SPLITS.items():
        text = f"score a checkpoint on the {split} split"
        parser = add_command(commands, name, run, text, USAGE, EXAMPLES.format(command=name))
        parser.set_defaults(split=split)
        parser.add_argument("checkpoint", metavar="CKPT", help="a checkpoint that fit has written")
        keys = ", ".join(f"{section}.*" for section in SECTIONS)
        more = f"further checkpoints, whose predictions are averaged; another card; keys: {keys}"
        parser.add_argument("words", nargs="*", metavar="CKPT | CARD | key=value", help=more)
        parser.add_argument("--output", metavar="DIR", help="folder for metrics.json and predictions.json")
        add_plugin_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check the words, and score the checkpoint."""
    more = [word for word in arguments.words if word.endswith(CHECKPOINT_SUFFIX) and not is_override(word)]
    words = [word for word in arguments.words if word not in more]
    check_overrides(words)  # before the checkpoint is opened, which imports torch
    check_checkpoint_files([arguments.checkpoint, *more])
    files = [word for word in words if not is_override(word)]
    import_plugin_files(compose([*files, *plugin_overrides(arguments)]).values.get("plugins") or [])
    words = [*words, *plugin_overrides(arguments)]
    from visionkit.cli.scoring import score

    return score([arguments.checkpoint, *more], words, arguments.split, arguments.output)


def check_overrides(words: Sequence[str]) -> None:
    """Raise ConfigError for overrides of sections that are part of the checkpoint."""
    for word in filter(is_override, words):
        key = word.partition("=")[0]
        if key.split(".")[0] not in SECTIONS:
            sections = " or ".join(f"{name}." for name in SECTIONS)
            raise ConfigError(
                f"{key} cannot be changed here: it is part of the checkpoint\n"
                f"validate and test take keys that begin with {sections}"
            )
