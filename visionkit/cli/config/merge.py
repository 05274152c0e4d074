"""Layers of a recipe: YAML files and command-line words, with the origin of each value."""

import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from visionkit.errors import ConfigError

KeyPath = tuple[str, ...]

MAX_BYTES = 2**20
"""Largest size of a recipe or card."""

MAX_NODES = 50_000
"""Largest number of keys, lists and values, counted again at each use of an alias."""

MAX_DEPTH = 50
"""Largest depth of nested mappings and lists."""

TOO_DEEP = f"it is nested in more than {MAX_DEPTH} mappings and lists"

MAX_SCALAR = 10_000
"""Largest number of characters of a value."""

MAX_SHOWN = 80
"""Largest number of characters of a word in a message."""

MAX_MERGED = 100
"""Largest number of mappings in one merge key (`<<`)."""

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


class _RefusedError(yaml.MarkedYAMLError):
    """Error for valid YAML that is not allowed in a recipe."""

    def __init__(self, problem: str, node: yaml.Node) -> None:
        super().__init__(problem=problem, problem_mark=node.start_mark)


class _Loader(yaml.SafeLoader):
    """Safe YAML loader that reads 1e-4 as a number, as in YAML 1.2, and dates as text."""

    yaml_implicit_resolvers = {  # noqa: RUF012  (PyYAML's own attribute)
        first: [(tag, form) for tag, form in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth, self.nodes = 0, 0

    def count(self, node: yaml.Node, added: int = 1) -> None:
        """Count nodes that have been read or repeated.

        Raises:
            _RefusedError: there are too many, for example because aliases repeat each other.
        """
        self.nodes += added
        if self.nodes > MAX_NODES:
            raise _RefusedError(f"there are more than {MAX_NODES} values, with those that aliases repeat", node)

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Return a node of the file.

        Raises:
            _RefusedError: it is nested too deeply, or the value is too long.
        """
        event = self.peek_event()
        marked = yaml.ScalarNode("", "", event.start_mark)
        if isinstance(event, yaml.ScalarEvent) and len(event.value) > MAX_SCALAR:
            raise _RefusedError(f"a value has {len(event.value)} characters; at most {MAX_SCALAR} are allowed", marked)
        if self.depth >= MAX_DEPTH:
            raise _RefusedError(TOO_DEEP, marked)
        self.depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Add the keys of `<<: *anchor` in front of those of the mapping.

        Raises:
            _RefusedError: there are too many of them.
        """
        for key, value in node.value:
            is_list = isinstance(value, yaml.SequenceNode)
            if is_list and key.tag == "tag:yaml.org,2002:merge" and len(value.value) > MAX_MERGED:
                raise _RefusedError(f"<< takes at most {MAX_MERGED} mappings", key)
        super().flatten_mapping(node)
        # Each key once, so that mappings that merge each other repeatedly do not grow; the last one applies.
        node.value = list({key.value: (key, value) for key, value in node.value}.values())
        self.count(node, len(node.value))

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Return a mapping of the file. Keys must be words and unique."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _RefusedError("a key must be a word", key)
            if key.value in seen:
                raise _RefusedError(f"the key {key.value!r} stands twice in the same mapping", key)
            seen.add(key.value)
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_layer(path: Path) -> Layer:
    """Read a YAML file.

    Raises:
        ConfigError: the file does not exist, is not YAML, has a duplicate key, or is not a mapping.
    """
    try:
        text = _text_of(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'not a text file'}") from error
    layer = Layer()
    try:
        values = _read(text, lambda line: f"{path}:{line}", (), layer.origins)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise ConfigError(f"{path}{line}: {_problem(error)}") from error
    if not isinstance(values, (dict, type(None))):
        raise ConfigError(f"{path} must hold `key: value` lines")
    layer.values = values or {}
    return layer


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
    layer = Layer(origins={path: COMMAND_LINE})
    try:
        value = _read(text, lambda _: COMMAND_LINE, path, layer.origins)
    except yaml.YAMLError as error:
        raise ConfigError(f"{_shortened(word)}: {_problem(error)}") from error
    for part in reversed(path):
        value = {part: value}
    layer.values = value
    return layer


def _shortened(word: str) -> str:
    return repr(word) if len(word) <= MAX_SHOWN else f"{word[:MAX_SHOWN]!r}..."


def _read(text: str, where: Callable[[int], str], path: KeyPath, origins: dict[KeyPath, str]) -> Any:
    """Return the value of a YAML text, and add the origin of each nested value to `origins`."""
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        return None if node is None else _plain(loader, node, where, path, origins, ())
    finally:
        loader.dispose()


def _plain(
    loader: _Loader,
    node: yaml.Node,
    where: Callable[[int], str],
    path: KeyPath,
    origins: dict[KeyPath, str],
    around: tuple[yaml.Node, ...],
) -> Any:
    """Return the mappings, lists and scalars of a YAML node that is nested in the nodes `around`."""
    loader.count(node)
    if isinstance(node, yaml.ScalarNode):
        return _scalar(loader, node)
    if node in around:
        raise _RefusedError("this part contains itself", node)
    if len(around) >= MAX_DEPTH:
        raise _RefusedError(TOO_DEEP, node)
    if node.tag not in (loader.DEFAULT_MAPPING_TAG, loader.DEFAULT_SEQUENCE_TAG):
        raise _RefusedError(f"the tag {node.tag} is not allowed", node)
    if isinstance(node, yaml.MappingNode):
        loader.flatten_mapping(node)  # keys of `<<: *anchor` precede the keys of the mapping
        inner = {key.value: (key, value) for key, value in node.value}
    else:
        inner = {str(index): (value, value) for index, value in enumerate(node.value)}
    values = {}
    for key, (marked, value) in inner.items():
        here = (*path, key)
        origins[here] = where(marked.start_mark.line + 1)
        values[key] = _plain(loader, value, where, here, origins, (*around, node))
    return values if isinstance(node, yaml.MappingNode) else list(values.values())


def _scalar(loader: _Loader, node: yaml.ScalarNode) -> Any:
    try:
        return loader.construct_object(node)
    except ValueError as error:
        raise _RefusedError(str(error), node) from error


def _problem(error: yaml.YAMLError) -> str:
    """Return the YAML error in one line. PyYAML's message has several lines."""
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", error))
    return problem if isinstance(error, _RefusedError) else f"this is not YAML: {problem}"


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
