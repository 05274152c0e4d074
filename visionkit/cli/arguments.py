"""Functions shared by the argument parsers of the commands."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

WORDS_HELP = "YAML files (recipe, data cards) and key=value overrides; later ones take precedence"


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str, usage: str, examples: str
) -> argparse.ArgumentParser:
    """Add a command and return its parser.

    Args:
        commands: subparsers of the main parser.
        name: name of the command.
        run: function that takes the parsed arguments and returns the exit status.
        text: description of the command in one line.
        usage: arguments in the usage message.
        examples: examples at the end of the help.
    """
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=text,
        usage=f"visionkit {name} {usage}",
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    # no default, because it would override a --debug before the command
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of errors")
    parser.set_defaults(run=run, parser=parser)
    return parser


def add_plugin_option(parser: argparse.ArgumentParser) -> None:
    """Add `--plugin`."""
    text = "a Python file that registers models, backbones, formats or transforms; may be given several times"
    parser.add_argument("--plugin", action="append", default=[], metavar="FILE.py", help=text)


def plugin_overrides(arguments: argparse.Namespace) -> list[str]:
    """Return the `--plugin` options as an override of a recipe."""
    return [f"plugins={json.dumps(arguments.plugin)}"] if arguments.plugin else []


def import_plugin_files(files: list[str]) -> None:
    """Import the plugins that the user names on the command line or in a recipe."""
    from visionkit.plugins import import_file

    for file in files:
        import_file(Path(file))
