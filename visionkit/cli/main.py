"""The `visionkit` command. This module does not import torch or Lightning, so that help and errors appear quickly."""

import argparse
import io
import re
import sys
from collections.abc import Collection, Sequence

from visionkit import __version__
from visionkit.cli.commands import compare, data, evaluate, extract, fit, predict, report, runs, score, transfer, tune
from visionkit.cli.commands import list as list_command
from visionkit.cli.config import catalog
from visionkit.cli.config.compose import folder_layer, is_override
from visionkit.cli.config.hints import check_words, option_hint
from visionkit.cli.unexpected import report_unexpected
from visionkit.errors import StoppedError, VisionkitError
from visionkit.registry import suggest

COMMANDS = (fit, score, evaluate, compare, report, predict, extract, runs, list_command, data, transfer, tune)

OTHER_NAMES = {
    "train": "fit",
    "finetune": "fit",
    "eval": "test, or evaluate for predictions of another program",
    "val": "validate",
    "detect": "predict",
    "infer": "predict",
    "inference": "predict",
    "check": "data check",
    "convert": "data convert",
    "lr_find": "tune lr",
    "lr-find": "tune lr",
    "find-lr": "tune lr",
    "batch-size": "tune batch-size",
    "scale-batch-size": "tune batch-size",
    "sweep": "tune sweep",
    "search": "tune sweep",
    "hpo": "tune sweep",
    "optimize": "tune sweep",
    "help": "--help",
}
"""Commands of visionkit by names that other programs use."""

EXAMPLES = """examples:
  visionkit fit recipes/faster_rcnn_resnet50.yaml                      train on the built-in data
  visionkit fit recipes/faster_rcnn_resnet50.yaml data/mine.yaml model.backbone=densenet121
  visionkit test runs/faster_rcnn_resnet50/1/best.ckpt                 score a checkpoint
  visionkit predict runs/faster_rcnn_resnet50/1/best.ckpt photos/ --output out/
  visionkit data check data/mine.yaml                                  before a night of training
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        argv: command-line arguments after `visionkit`; None uses those of the process.

    Returns:
        Exit status: 0 (success), 1 (broken data found, or images skipped), 2 (error in the input), 3 (unexpected
        error), 130 (interrupted), 141 (the reader of the output has ended), or 128 + the number of the signal that
        stopped a training run (143 for SIGTERM).
    """
    _allow_all_characters()
    catalog.forget_plugin_files()
    folder_layer.cache_clear()  # a relative path means another folder after a change of the working directory
    words = sys.argv[1:] if argv is None else argv
    if not words:
        _parser()[0].print_help()
        return 0
    arguments = _parse(words)
    try:
        check_words(vars(arguments).get("words", []))
        status = int(arguments.run(arguments) or 0)
        sys.stdout.flush()  # here, so that a closed output is noticed
        return status
    except StoppedError as error:
        from visionkit.cli.processes import is_first_process

        if is_first_process():
            print(f"visionkit: {error}", file=sys.stderr)
        return 128 + error.signal
    except VisionkitError as error:
        if arguments.debug:
            raise
        print(f"visionkit: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return _interrupted()
    except Exception as error:
        if arguments.debug:
            raise
        return report_unexpected(error)
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # Lightning ends with status 1 after Ctrl-C
            return _interrupted()
        raise


def _allow_all_characters() -> None:
    """Print characters that the output cannot encode as escapes: file names can be in another encoding."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _interrupted() -> int:
    print("visionkit: interrupted", file=sys.stderr)
    return 130


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    """Return the parsed arguments. Words may also follow an option, which argparse alone does not allow."""
    parser, names = _parser()
    _check_command(argv, parser, names)
    arguments, rest = parser.parse_known_args(_with_explicit_resume(argv))
    unknown = [word for word in rest if word.startswith("-") or not hasattr(arguments, "words")]
    if unknown:
        options = set(re.findall(r"--[a-z-]+", arguments.parser.format_help()))
        hint = suggest(unknown[0], options) if unknown[0].startswith("-") else ""
        hint = option_hint(unknown[0]) or hint
        arguments.parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    if rest:
        arguments.words = [*arguments.words, *rest]
    return arguments


def _check_command(argv: Sequence[str], parser: argparse.ArgumentParser, names: Collection[str]) -> None:
    """End with a usage error that names the nearest command if the first word is none."""
    name = next((word for word in argv if not word.startswith("-")), None)
    if name is not None and name not in names:
        hint = f"; did you mean {OTHER_NAMES[name]}?" if name in OTHER_NAMES else suggest(name, names)
        parser.error(f"there is no command {name!r}{hint}")


def _with_explicit_resume(argv: Sequence[str]) -> list[str]:
    """Return the words with `--resume` replaced by `--resume=last` if a recipe, card or override follows it."""
    following = [*argv, ""][1:]
    return [
        "--resume=last" if word == "--resume" and (is_override(after) or after.endswith((".yaml", ".yml"))) else word
        for word, after in zip(argv, following, strict=True)
    ]


def _parser() -> tuple[argparse.ArgumentParser, Collection[str]]:
    """Return the parser, and the names of the commands."""
    parser = argparse.ArgumentParser(
        prog="visionkit",
        usage="visionkit COMMAND ... [--debug]",
        description="Train, test and use computer-vision models from recipes and data cards.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"visionkit {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of errors")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", prog="visionkit", required=True)
    for command in COMMANDS:
        command.add(commands)
    return parser, commands.choices


if __name__ == "__main__":
    sys.exit(main())
