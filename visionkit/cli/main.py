"""The `visionkit` command. Importing this imports neither torch nor Lightning: help and mistakes answer at once."""

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

from visionkit import __version__
from visionkit.cli.compose import compose, is_override
from visionkit.cli.layers import Layer
from visionkit.cli.listing import KINDS, print_listing
from visionkit.cli.schema import check
from visionkit.errors import RecipeError, VisionkitError

EPILOG = """examples:
  visionkit fit recipes/faster_rcnn_resnet50.yaml                      train on the embedded data
  visionkit fit recipes/faster_rcnn_resnet50.yaml data/mine.yaml model.backbone=densenet121
  visionkit test runs/faster_rcnn_resnet50/1/best.ckpt                 score a checkpoint
  visionkit predict runs/faster_rcnn_resnet50/1/best.ckpt photos/ --output out/
  visionkit data check data/mine.yaml                                  before a night of training
"""

WORDS_HELP = "YAML files (recipe, data cards) and key=value overrides, laid over each other from left to right"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: the words after `visionkit`, None for those of the process.

    Returns:
        The exit status: 0, 1 (broken data found), 2 (a mistake in the input), 130 (interrupted).
    """
    arguments = _parse(argv)
    try:
        return int(arguments.run(arguments) or 0)
    except VisionkitError as error:
        if arguments.debug:
            raise
        print(f"visionkit: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("visionkit: interrupted", file=sys.stderr)
        return 130


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The words as arguments; argparse alone does not take overrides that stand behind an option."""
    parser = _parser()
    arguments, behind = parser.parse_known_args(argv)
    if behind and (not hasattr(arguments, "words") or any(word.startswith("-") for word in behind)):
        parser.error(f"unrecognized arguments: {' '.join(behind)}")
    if behind:
        arguments.words = [*arguments.words, *behind]
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="visionkit",
        description="Train, test and use computer-vision networks from recipes and data cards.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"visionkit {__version__}")
    parser.set_defaults(debug=False)
    verbs = parser.add_subparsers(title="verbs", metavar="VERB", required=True)

    fit = _verb(verbs, "fit", _fit, "train a network")
    fit.add_argument("words", nargs="+", metavar="RECIPE [CARD ...] [key=value ...]", help=WORDS_HELP)
    fit.add_argument(
        "--resume", nargs="?", const="last", metavar="CKPT", help="go on from a checkpoint, or the last run"
    )
    fit.add_argument("--dry-run", action="store_true", help="print the composed recipe and stop")

    for name, text in (("validate", "score a checkpoint on the val split"), ("test", "score it on the test split")):
        verb = _verb(verbs, name, _evaluate, text)
        verb.set_defaults(verb=name)
        verb.add_argument("checkpoint", metavar="CKPT")
        verb.add_argument("words", nargs="*", metavar="CARD | key=value", help="another card, and overrides")
        verb.add_argument("--output", metavar="DIR", help="folder for metrics.json and predictions.json")

    predict = _verb(verbs, "predict", _predict, "find objects in pictures of your own")
    predict.add_argument("checkpoint", metavar="CKPT")
    predict.add_argument("paths", nargs="+", metavar="PICTURE | FOLDER")
    predict.add_argument("--output", metavar="DIR", help="folder for the drawn pictures and predictions.json")
    predict.add_argument("--score-threshold", type=float, metavar="S", help="draw and list boxes from this score")

    listing = _verb(verbs, "list", _list, "what there is to choose from")
    listing.add_argument("kind", nargs="?", choices=list(KINDS), help="left out: everything")

    data = _verb(verbs, "data", _data, "check or download the data of a card")
    data.add_argument("action", choices=["check", "download"])
    data.add_argument("words", nargs="+", metavar="CARD [key=value ...]", help=WORDS_HELP)
    return parser


def _verb(verbs: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=text, description=text)
    verb.add_argument("--debug", action="store_true", help="show the traceback of an error")
    verb.set_defaults(run=run)
    return verb


def _fit(arguments: argparse.Namespace) -> int:
    recipe = compose(arguments.words)
    check(recipe)
    if arguments.dry_run:
        _print_recipe(recipe)
        return 0
    run = _body("verbs_fit", "fit")
    return run(recipe.values, name=_recipe_name(arguments.words), resume=arguments.resume)


def _evaluate(arguments: argparse.Namespace) -> int:
    words = arguments.words
    if words:  # mistakes in files and words are found before the checkpoint is opened, which imports torch
        compose([word for word in words if not is_override(word)])
    return _body("verbs_evaluate", arguments.verb)(arguments.checkpoint, words, output=arguments.output)


def _predict(arguments: argparse.Namespace) -> int:
    run = _body("verbs_predict", "predict")
    return run(
        arguments.checkpoint, arguments.paths, output=arguments.output, score_threshold=arguments.score_threshold
    )


def _list(arguments: argparse.Namespace) -> int:
    print_listing([arguments.kind] if arguments.kind else list(KINDS))
    return 0


def _data(arguments: argparse.Namespace) -> int:
    return _body("verbs_data", arguments.action)(compose(arguments.words).values)


def _body(module: str, function: str) -> Callable[..., int]:
    """The part of a verb that needs torch, imported only now."""
    body: Callable[..., int] = getattr(importlib.import_module(f"visionkit.cli.{module}"), function)
    return body


def _recipe_name(words: Sequence[str]) -> str:
    """Name of a run's folder: that of the first file."""
    files = [word for word in words if not is_override(word)]
    if not files:
        raise RecipeError("fit needs a recipe: visionkit list recipes")
    return files[0].replace("\\", "/").rsplit("/", 1)[-1].removesuffix(".yaml")


def _print_recipe(recipe: Layer) -> None:
    import yaml

    print(yaml.safe_dump(recipe.values, sort_keys=False, allow_unicode=True), end="")


if __name__ == "__main__":
    sys.exit(main())
