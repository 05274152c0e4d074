"""`visionkit predict`: predict on images."""

import argparse
from pathlib import Path
from typing import Any

from visionkit.cli.arguments import add_command, add_plugin_option, import_plugin_files
from visionkit.cli.checkpoint_file import check_checkpoint_files
from visionkit.data.io.paths import require_existing

USAGE = "CKPT IMAGE|FOLDER ... [--output DIR] [--score-threshold S] [--format F] [--scores] [--plugin FILE.py]"
EXAMPLES = """examples:
  visionkit predict runs/faster_rcnn_resnet50/1/best.ckpt photo.jpg photos/ --output out/
  visionkit predict runs/faster_rcnn_resnet50/1/best.ckpt photos/ --score-threshold 0.3
  visionkit predict runs/faster_rcnn_resnet50/1/best.ckpt photos/ --output out/ --format cvat    pre-labels
"""


def add(commands: Any) -> None:
    """Add the parser of the command."""
    parser = add_command(commands, "predict", run, "predict on your own images", USAGE, EXAMPLES)
    parser.add_argument("checkpoint", metavar="CKPT", help="a checkpoint that fit has written")
    parser.add_argument("words", nargs="+", metavar="IMAGE | FOLDER", help="image files, and folders of them")
    parser.add_argument("--output", metavar="DIR", help="folder for the drawn images and predictions.json")
    text = "draw and list predictions with at least this score"
    parser.add_argument("--score-threshold", type=float, metavar="S", help=text)
    text = "also write detections in this format for annotation tools, into a folder of its name in DIR"
    parser.add_argument("--format", choices=("coco", "yolo", "cvat", "labelme"), help=text)
    parser.add_argument("--scores", action="store_true", help="with --format yolo: end each line with the score")
    add_plugin_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Import the plugins, and predict on the images."""
    if arguments.scores and arguments.format != "yolo":
        arguments.parser.error("--scores goes with --format yolo; the other formats always have scores")
    check_checkpoint_files([arguments.checkpoint])
    for word in arguments.words:
        require_existing(Path(word))
    import_plugin_files(arguments.plugin)
    from visionkit.cli.prediction import predict

    return predict(
        arguments.checkpoint,
        arguments.words,
        output=arguments.output,
        score_threshold=arguments.score_threshold,
        format=arguments.format,
        with_scores=arguments.scores,
    )
