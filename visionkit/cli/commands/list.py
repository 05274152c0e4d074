"""`visionkit list`: names with a summary of each, read from source and YAML without importing torch."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from visionkit.cli.arguments import add_command, add_plugin_option
from visionkit.cli.config.catalog import Entry, add_plugin_file, registered
from visionkit.cli.config.compose import shipped_files

EXAMPLES = """examples:
  visionkit list                                                       everything
  visionkit list backbones
  visionkit list models --plugin my_model.py                           with the names that a plugin adds
"""

Listing = dict[str, str]
"""Summary of each name."""


def add(commands: Any) -> None:
    """Add the parser of the command."""
    usage = f"[{'|'.join(KINDS)}] [--plugin FILE.py]"
    parser = add_command(commands, "list", run, "list models, backbones, recipes and more", usage, EXAMPLES)
    parser.add_argument("kind", nargs="?", choices=list(KINDS), help="what to list; everything by default")
    add_plugin_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the names. Plugins are read, not imported."""
    for file in arguments.plugin:
        add_plugin_file(Path(file))
    print_listing([arguments.kind] if arguments.kind else list(KINDS))
    return 0


def _from_registry(name: str) -> Callable[[], Listing]:
    return lambda: {entry.name: _summary(entry) for entry in registered(name).values()}


def _summary(entry: Entry) -> str:
    """Return the first line of the docstring and the plugin of the entry."""
    origin = f"[plugin {entry.plugin}]" if entry.plugin else ""
    return f"{entry.definition.summary}  {origin}".strip()


def _from_files(kind: str) -> Callable[[], Listing]:
    return lambda: {file.stem: _first_comment(file.read_text(encoding="utf-8")) for file in shipped_files(kind)}


def _first_comment(text: str) -> str:
    first = text.split("\n", 1)[0]
    return first.removeprefix("#").strip() if first.startswith("#") else ""


KINDS: dict[str, Callable[[], Listing]] = {
    "models": _from_registry("models"),
    "backbones": _from_registry("backbones"),
    "recipes": _from_files("recipes"),
    "data": _from_files("data"),
    "formats": _from_registry("formats"),
    "transforms": _from_registry("transforms"),
    "metrics": _from_registry("metrics"),
    "losses": _from_registry("losses"),
    "optimizers": _from_registry("optimizers"),
    "schedules": _from_registry("schedules"),
    "loggers": _from_registry("loggers"),
}
"""Functions that return the listing of each kind."""


def print_listing(kinds: Sequence[str]) -> None:
    """Print a heading for each kind, followed by its names."""
    for kind in kinds:
        print(f"{kind}:")
        listed = sorted(KINDS[kind]().items())
        width = max((len(name) for name, _ in listed), default=0)
        for name, summary in listed:
            print(f"  {name:<{width}}  {summary}".rstrip())
