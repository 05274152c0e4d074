"""One layer of a recipe: a YAML file or a word of the command line, with the place each value stands at."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from visionkit.errors import RecipeError

KeyPath = tuple[str, ...]
COMMAND_LINE = "the command line"


@dataclass
class Layer:
    """Nested settings and where each of them stands.

    Attributes:
        values: nested mappings down to scalars and lists.
        origins: by path of keys, "file:line" or "the command line".
    """

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, str] = field(default_factory=dict)

    def origin(self, path: KeyPath) -> str:
        """Where the setting at `path`, or the nearest one around it, stands."""
        while path and path not in self.origins:
            path = path[:-1]
        return self.origins.get(path, "the recipe")


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads 1e-4 as a number, as people write it and YAML 1.2 says."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_layer(path: Path) -> Layer:
    """Read a YAML file.

    Raises:
        RecipeError: no such file, no YAML, a key that stands twice, or no mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'not a text file'}") from error
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        layer = Layer()
        if node is not None:
            if not isinstance(node, yaml.MappingNode):
                raise RecipeError(f"{path} must hold `key: value` lines")
            layer.values = _mapping(loader, node, path, (), layer.origins)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise RecipeError(f"{path}{line} is not YAML: {getattr(error, 'problem', error)}") from error
    finally:
        loader.dispose()
    return layer


def _mapping(
    loader: _Loader, node: yaml.MappingNode, file: Path, path: KeyPath, origins: dict[KeyPath, str]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = str(loader.construct_object(key_node))
        where = f"{file}:{key_node.start_mark.line + 1}"
        if key in values:
            raise RecipeError(f"{where}: the key {key!r} stands twice in the same mapping")
        origins[(*path, key)] = where
        if isinstance(value_node, yaml.MappingNode):
            values[key] = _mapping(loader, value_node, file, (*path, key), origins)
        else:
            values[key] = loader.construct_object(value_node, deep=True)
    return values


def override_layer(word: str) -> Layer:
    """The layer of a command-line word `a.b.c=value`; the value is read as YAML.

    Raises:
        RecipeError: the word has no key, or its value is no YAML.
    """
    key, _, text = word.partition("=")
    path = tuple(key.split("."))
    if not all(path):
        raise RecipeError(f"{word!r}: an override has the form key=value, such as trainer.max_epochs=12")
    try:
        value: Any = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise RecipeError(f"{word!r}: the value is not YAML: {getattr(error, 'problem', error)}") from error
    origins = dict.fromkeys(_paths(value, path), COMMAND_LINE)
    for part in reversed(path):
        value = {part: value}
    return Layer(value, origins)


def _paths(value: Any, path: KeyPath) -> list[KeyPath]:
    deeper = value.items() if isinstance(value, dict) else ()
    return [path] + [found for key, inner in deeper for found in _paths(inner, (*path, str(key)))]


def merge(lower: Layer, upper: Layer) -> Layer:
    """`upper` laid over `lower`: mappings are merged, everything else is replaced."""
    return Layer(merge_values(lower.values, upper.values), {**lower.origins, **upper.origins})


def merge_values(lower: dict[str, Any], upper: dict[str, Any]) -> dict[str, Any]:
    """See `merge`."""
    merged = dict(lower)
    for key, value in upper.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge_values(merged[key], value) if both else value
    return merged
