"""Layers of a recipe: YAML files and command-line words, with the origin of each value."""

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from visionkit.errors import ConfigError
from visionkit.limited_yaml import MAX_DEPTH, TOO_DEEP, KeyPath, parse_yaml, yaml_problem

MAX_BYTES = 2**20
"""Largest size of a recipe or card."""

MAX_SHOWN = 80
"""Largest number of characters of a word in a message."""

COMMAND_LINE = "the command line"


@dataclass
class Layer:
    """Nested settings with the origin of each setting.

    Attributes:
        values: nested mappings down to scalars and lists.
        origins: origin by path of keys, "file:line" or "the command line".
    """

    values: dict[str, Any] = field(default_factory=dict)
    origins: dict[KeyPath, str] = field(default_factory=dict)

    def origin(self, path: KeyPath) -> str:
        """Return the origin of the setting at `path`, or of the nearest enclosing setting."""
        while path and path not in self.origins:
            path = path[:-1]
        return self.origins.get(path, "the recipe")


class WrongValueError(ConfigError):
    """Error for a value that does not fit the code that receives it.

    Attributes:
        path: keys of the value, from which its origin is found.
    """

    def __init__(self, message: str, path: KeyPath) -> None:
        super().__init__(message)
        self.path = path


@contextmanager
def saying_where(recipe: Layer) -> Iterator[None]:
    """Add the origin of a wrong value to its error: file and line, or the command line."""
    try:
        yield
    except WrongValueError as error:
        raise ConfigError(f"{error}\n  {recipe.origin(error.path)}") from error


def read_layer(path: Path) -> Layer:
    """Read a YAML file.

    Raises:
        ConfigError: the file does not exist, is not YAML, has a duplicate key, or is not a mapping.
    """
    try:
        text = _text_of(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'not a text file'}") from error
    try:
        values, lines = parse_yaml(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: {yaml_problem(error)}") from error
    if not isinstance(values, (dict, type(None))):
        raise ConfigError(f"{path} must hold `key: value` lines")
    return Layer(values or {}, {keys: f"{path}:{line}" for keys, line in lines.items()})


def _text_of(path: Path) -> str:
    """Return the text of a recipe or card.

    Raises:
        ConfigError: the path is not that of a regular file of at most `MAX_BYTES`.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):  # reading a FIFO waits, and a device may be endless
        raise ConfigError(f"{path} is not a regular file, as a recipe or card must be")
    if status.st_size > MAX_BYTES:
        raise ConfigError(f"{path} has {status.st_size:,} bytes; a recipe or card has at most {MAX_BYTES:,}")
    return path.read_text(encoding="utf-8")


def override_layer(word: str) -> Layer:
    """Return the layer of a command-line word `a.b.c=value`. The value is read as YAML.

    Raises:
        ConfigError: the word has no key, or its value is not YAML.
    """
    key, _, text = word.partition("=")
    path = tuple(key.split("."))
    if not all(path):
        raise ConfigError(f"{word!r}: an override has the form key=value, such as trainer.max_epochs=12")
    if len(path) > MAX_DEPTH:
        raise ConfigError(f"{_shortened(word)}: {TOO_DEEP}")
    try:
        value, lines = parse_yaml(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{_shortened(word)}: {yaml_problem(error)}") from error
    for part in reversed(path):
        value = {part: value}
    return Layer(value, dict.fromkeys([path, *((*path, *keys) for keys in lines)], COMMAND_LINE))


def _shortened(word: str) -> str:
    return repr(word) if len(word) <= MAX_SHOWN else f"{word[:MAX_SHOWN]!r}..."


def section(layer: Layer, *path: str) -> dict[str, Any]:
    """Return the mapping at `path` of a layer, or an empty mapping if there is none.

    Raises:
        ConfigError: the value is not a mapping.
    """
    values: dict[str, Any] = layer.values
    for depth, key in enumerate(path, start=1):
        values = values.get(key) or {}
        if not isinstance(values, dict):
            where = layer.origin(path[:depth])
            raise ConfigError(f"{'.'.join(path[:depth])} must hold `key: value` lines, not {values!r}\n  {where}")
    return values


def merge(lower: Layer, upper: Layer) -> Layer:
    """Return `upper` merged into `lower`. Mappings are merged, and all other values are replaced.

    Numeric keys change elements of a list, for example `data.augment.0.p=0.3`. The plugins of both layers are kept.

    Raises:
        ConfigError: a list has no element with this index.
    """
    values = merge_values(lower.values, upper.values)
    if "plugins" in lower.values and "plugins" in upper.values:
        values["plugins"] = list(dict.fromkeys([*(lower.values["plugins"] or []), *(upper.values["plugins"] or [])]))
    return Layer(values, {**lower.origins, **upper.origins})


def merge_values(lower: dict[str, Any], upper: dict[str, Any]) -> dict[str, Any]:
    """Return merged values; see `merge`."""
    merged = dict(lower)
    for key, value in upper.items():
        merged[key] = _laid_over(merged.get(key), value)
    return merged


def _laid_over(lower: Any, upper: Any) -> Any:
    if isinstance(lower, dict) and isinstance(upper, dict):
        return merge_values(lower, upper)
    if isinstance(lower, list) and isinstance(upper, dict) and upper and all(key.isdecimal() for key in upper):
        missing = [key for key in upper if int(key) >= len(lower)]
        if missing:
            raise ConfigError(f"element {missing[0]} is not in a list of {len(lower)}; the first one is 0")
        return [_laid_over(value, upper[str(at)]) if str(at) in upper else value for at, value in enumerate(lower)]
    return upper
