"""The `visionkit` command. Importing this imports neither torch nor Lightning: help and mistakes answer at once."""

import argparse
import importlib
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any

from visionkit import __version__
from visionkit.cli.commands.list_names import KINDS, print_listing
from visionkit.cli.config.compose import compose, is_override
from visionkit.cli.config.layers import Layer, saying_where
from visionkit.cli.config.schema import check, check_data
from visionkit.errors import ConfigError, VisionkitError
from visionkit.registry import suggest

EXAMPLES = """examples:
  visionkit fit recipes/faster_rcnn_resnet50.yaml                      train on the embedded data
  visionkit fit recipes/faster_rcnn_resnet50.yaml data/mine.yaml model.backbone=densenet121
  visionkit test runs/faster_rcnn_resnet50/1/best.ckpt                 score a checkpoint
  visionkit predict runs/faster_rcnn_resnet50/1/best.ckpt photos/ --output out/
  visionkit data check data/mine.yaml                                  before a night of training
"""
FIT_EXAMPLES = """examples:
  visionkit fit recipes/faster_rcnn_resnet50.yaml                      train on the embedded data
  visionkit fit faster_rcnn_resnet50 coco2017 data.root=/data/coco     shipped recipes and cards go by name
  visionkit fit recipes/faster_rcnn_resnet50.yaml optimizer.lr=0.01 data.augment.0.p=0.3
  visionkit fit recipes/faster_rcnn_resnet50.yaml --resume             go on with the newest run
"""
EVALUATE_EXAMPLES = """examples:
  visionkit {verb} runs/faster_rcnn_resnet50/1/best.ckpt                 on the data it was trained with
  visionkit {verb} runs/faster_rcnn_resnet50/1/best.ckpt data/other.yaml data.batch_size=4
  visionkit {verb} runs/resnet50_imagenet/1/best.ckpt inference.views=ten       ten crops of each image
  visionkit {verb} runs/vgg16/1/best.ckpt runs/vgg19/1/best.ckpt                 the mean of two classifiers
"""
PREDICT_EXAMPLES = """examples:
  visionkit predict runs/faster_rcnn_resnet50/1/best.ckpt photo.jpg photos/ --output out/
  visionkit predict runs/faster_rcnn_resnet50/1/best.ckpt photos/ --score-threshold 0.3
"""
LIST_EXAMPLES = """examples:
  visionkit list                                                       everything
  visionkit list backbones
"""
DATA_EXAMPLES = """examples:
  visionkit data check data/mine.yaml                                  before a night of training
  visionkit data download coco2017 data.root=/data/coco
  visionkit data proposals data/voc2007.yaml --mode quality --split train
  visionkit data anchors data/bccd.yaml --count 5 --size 416           shapes for model.anchor_shapes of yolov2
"""
TRANSFER_EXAMPLES = """examples:
  visionkit transfer advise data/mine.yaml                             do pretrained weights fit these images?
  visionkit transfer advise data/mine.yaml model.backbone=densenet121
"""

WORDS_HELP = "YAML files (recipe, data cards) and key=value overrides, laid over each other from left to right"
CHECKPOINT_SUFFIX = ".ckpt"
SECTIONS_OF_EVALUATION = ("data", "inference", "evaluation", "trainer")
"""What of a recipe may be changed when a trained network is scored; the rest is part of the checkpoint."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after `visionkit`, None for those of the process.

    Returns:
        The exit status: 0, 1 (broken data found), 2 (a mistake in the input), 130 (interrupted).
    """
    arguments = _parse(sys.argv[1:] if argv is None else argv)
    try:
        return int(arguments.run(arguments) or 0)
    except VisionkitError as error:
        if arguments.debug:
            raise
        print(f"visionkit: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return _interrupted()
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # Lightning answers Ctrl-C by leaving with status 1
            return _interrupted()
        raise


def _interrupted() -> int:
    print("visionkit: interrupted", file=sys.stderr)
    return 130


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command's words as arguments; argparse alone does not take words that stand behind an option."""
    parser = _parser()
    arguments, behind = parser.parse_known_args(_with_resume_explicit(argv))
    unknown = [word for word in behind if word.startswith("-") or not hasattr(arguments, "words")]
    if unknown:
        options = set(re.findall(r"--[a-z-]+", arguments.parser.format_help()))
        hint = suggest(unknown[0], options) if unknown[0].startswith("-") else ""
        arguments.parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    if behind:
        arguments.words = [*arguments.words, *behind]
    return arguments


def _with_resume_explicit(argv: Sequence[str]) -> list[str]:
    """The words with `--resume=last` where a recipe, card or override follows, which can be no checkpoint."""
    following = [*argv, ""][1:]
    return [
        "--resume=last" if word == "--resume" and (is_override(after) or after.endswith((".yaml", ".yml"))) else word
        for word, after in zip(argv, following, strict=True)
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="visionkit",
        usage="visionkit VERB ... [--debug]",
        description="Train, test and use computer-vision networks from recipes and data cards.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"visionkit {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", prog="visionkit", required=True)

    usage = "RECIPE [CARD ...] [key=value ...] [--resume [CKPT]] [--dry-run]"
    fit = _verb(verbs, "fit", _fit, "train a network", usage, FIT_EXAMPLES)
    fit.add_argument("words", nargs="+", metavar="RECIPE | CARD | key=value", help=WORDS_HELP)
    fit.add_argument(
        "--resume", nargs="?", const="last", metavar="CKPT", help="go on from a checkpoint, or the last run"
    )
    fit.add_argument("--dry-run", action="store_true", help="print the composed recipe and stop")

    usage = "CKPT [CKPT ...] [CARD] [key=value ...] [--output DIR]"
    for name, text in (("validate", "score a checkpoint on the val split"), ("test", "score it on the test split")):
        verb = _verb(verbs, name, _evaluate, text, usage, EVALUATE_EXAMPLES.format(verb=name))
        verb.set_defaults(verb=name)
        verb.add_argument("checkpoint", metavar="CKPT", help="a checkpoint that fit has written")
        more = "further checkpoints to average with; another card; data.*, evaluation.* and trainer.* keys"
        verb.add_argument("words", nargs="*", metavar="CKPT | CARD | key=value", help=more)
        verb.add_argument("--output", metavar="DIR", help="folder for metrics.json and predictions.json")

    usage = "CKPT IMAGE|FOLDER ... [--output DIR] [--score-threshold S]"
    predict = _verb(verbs, "predict", _predict, "say what is in images of your own", usage, PREDICT_EXAMPLES)
    predict.add_argument("checkpoint", metavar="CKPT", help="a checkpoint that fit has written")
    predict.add_argument("words", nargs="+", metavar="IMAGE | FOLDER", help="image files, and folders of them")
    predict.add_argument("--output", metavar="DIR", help="folder for the drawn images and predictions.json")
    predict.add_argument(
        "--score-threshold", type=float, metavar="S", help="draw and list what has at least this score"
    )

    usage = f"[{'|'.join(KINDS)}]"
    listing = _verb(verbs, "list", _list, "what there is to choose from", usage, LIST_EXAMPLES)
    listing.add_argument("kind", nargs="?", choices=list(KINDS), help="left out: everything")

    usage = "check|download|proposals|anchors CARD [key=value ...] [--mode M] [--split S] [--count N] [--size P]"
    text = "check or download the data of a card, propose regions, find anchors"
    data = _verb(verbs, "data", _data, text, usage, DATA_EXAMPLES)
    data.add_argument("action", choices=["check", "download", "proposals", "anchors"])
    data.add_argument("words", nargs="+", metavar="CARD | key=value", help=WORDS_HELP)
    data.add_argument("--mode", metavar="M", help="proposals: single, fast or quality selective search")
    data.add_argument("--split", metavar="S", help="proposals: this split alone")
    data.add_argument("--count", type=int, metavar="N", help="anchors: how many (5)")
    data.add_argument("--size", type=int, metavar="P", help="anchors: sides of the network's input in pixels (416)")

    usage = "advise [RECIPE] CARD [key=value ...]"
    transfer = _verb(verbs, "transfer", _transfer, "how to use pretrained weights for a card", usage, TRANSFER_EXAMPLES)
    transfer.add_argument("action", choices=["advise"])
    transfer.add_argument("words", nargs="+", metavar="RECIPE | CARD | key=value", help=WORDS_HELP)
    return parser


def _verb(
    verbs: Any, name: str, run: Callable[[argparse.Namespace], int], text: str, usage: str, examples: str
) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(
        name,
        help=text,
        description=text,
        usage=f"visionkit {name} {usage}",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    # left unset where it is not given, or it would undo a --debug in front of the verb
    verb.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error")
    verb.set_defaults(run=run, parser=verb)
    return verb


def _fit(arguments: argparse.Namespace) -> int:
    name = _recipe_name(arguments.words)
    recipe = compose(arguments.words)
    check(recipe)
    if arguments.dry_run:
        _print_recipe(recipe)
        return 0
    with saying_where(recipe):
        return _body("fit", "fit")(recipe.values, name=name, resume=arguments.resume)


def _evaluate(arguments: argparse.Namespace) -> int:
    further = [word for word in arguments.words if word.endswith(CHECKPOINT_SUFFIX) and not is_override(word)]
    words = [word for word in arguments.words if word not in further]
    if words:  # mistakes in files and words are found before the checkpoint is opened, which imports torch
        _check_evaluation(words)
    return _body("evaluate", arguments.verb)([arguments.checkpoint, *further], words, output=arguments.output)


def _check_evaluation(words: Sequence[str]) -> None:
    """Refuse files that cannot be read and overrides that a finished network would not follow."""
    compose([word for word in words if not is_override(word)])
    for word in filter(is_override, words):
        key = word.partition("=")[0]
        if key.split(".")[0] not in SECTIONS_OF_EVALUATION:
            sections = " or ".join(f"{name}." for name in SECTIONS_OF_EVALUATION)
            raise ConfigError(
                f"{key} cannot be changed here: it is part of the checkpoint\n"
                f"validate and test take keys that begin with {sections}"
            )


def _predict(arguments: argparse.Namespace) -> int:
    run = _body("predict", "predict")
    return run(
        arguments.checkpoint, arguments.words, output=arguments.output, score_threshold=arguments.score_threshold
    )


def _list(arguments: argparse.Namespace) -> int:
    print_listing([arguments.kind] if arguments.kind else list(KINDS))
    return 0


def _data(arguments: argparse.Namespace) -> int:
    card = compose(arguments.words)
    check_data(card)
    owners = {"mode": "proposals", "split": "proposals", "count": "anchors", "size": "anchors"}
    options = {name: value for name in owners if (value := getattr(arguments, name)) is not None}
    for name in options:
        if owners[name] != arguments.action:
            arguments.parser.error(f"--{name} goes with `visionkit data {owners[name]}`")
    with saying_where(card):
        return _body("data", arguments.action)(card.values, **options)


def _transfer(arguments: argparse.Namespace) -> int:
    from visionkit.cli.commands.transfer import compose_advice

    recipe = compose_advice(arguments.words)
    check(recipe)
    with saying_where(recipe):
        return _body("transfer", arguments.action)(recipe.values, arguments.words)


def _body(module: str, function: str) -> Callable[..., int]:
    """The part of a verb that needs torch, imported only now."""
    body: Callable[..., int] = getattr(importlib.import_module(f"visionkit.cli.commands.{module}"), function)
    return body


def _recipe_name(words: Sequence[str]) -> str:
    """Name of a run's folder: that of the first file."""
    files = [word for word in words if not is_override(word)]
    if not files:
        raise ConfigError("fit needs a recipe: visionkit list recipes")
    return files[0].replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".yaml")


def _print_recipe(recipe: Layer) -> None:
    import yaml

    print(yaml.safe_dump(recipe.values, sort_keys=False, allow_unicode=True), end="")


if __name__ == "__main__":
    sys.exit(main())
