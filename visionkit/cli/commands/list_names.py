"""`visionkit list`: names with a line on each, read from source and YAML without importing torch."""

from collections.abc import Callable, Sequence

from visionkit.cli.config.catalogue import registered
from visionkit.cli.config.compose import shipped_files

Listing = dict[str, str]


def _from_registry(name: str) -> Callable[[], Listing]:
    return lambda: {entry.name: entry.definition.summary for entry in registered(name).values()}


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
}
"""What can be listed, and where its names come from."""


def print_listing(kinds: Sequence[str]) -> None:
    """Print each kind as a heading with its names below."""
    for kind in kinds:
        print(f"{kind}:")
        listed = sorted(KINDS[kind]().items())
        width = max((len(name) for name, _ in listed), default=0)
        for name, summary in listed:
            print(f"  {name:<{width}}  {summary}".rstrip())
