"""Reading YAML files of untrusted origin: plain values only, with limits, and with the line of each value."""

import re
from typing import Any

import yaml

KeyPath = tuple[str, ...]

MAX_NODES = 50_000
"""Largest number of keys, lists and values, counted again at each use of an alias."""

MAX_DEPTH = 50
"""Largest depth of nested mappings and lists."""

TOO_DEEP = f"it is nested in more than {MAX_DEPTH} mappings and lists"

MAX_SCALAR = 10_000
"""Largest number of characters of a value."""

MAX_MERGED = 100
"""Largest number of mappings in one merge key (`<<`)."""


class _RefusedError(yaml.MarkedYAMLError):
    """Error for valid YAML that is not allowed."""

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


def parse_yaml(text: str) -> tuple[Any, dict[KeyPath, int]]:
    r"""Return the value of a YAML text, and the line of each nested value by its path of keys.

    Raises:
        yaml.YAMLError: the text is not YAML, or is not allowed here: tags, repeated keys, values that contain
            themselves, and what exceeds the limits above. `yaml_problem` explains it.

    Example:
        >>> from visionkit.limited_yaml import parse_yaml
        >>> parse_yaml("data:\n  root: a")
        ({'data': {'root': 'a'}}, {('data',): 1, ('data', 'root'): 2})
    """
    loader, lines = _Loader(text), dict[KeyPath, int]()
    try:
        node = loader.get_single_node()
        return (None if node is None else _plain(loader, node, (), lines, ())), lines
    finally:
        loader.dispose()


def yaml_problem(error: yaml.YAMLError) -> str:
    """Return the YAML error in one line. PyYAML's message has several lines."""
    problem = str(getattr(error, "problem", None) or getattr(error, "reason", error))
    return problem if isinstance(error, _RefusedError) else f"this is not YAML: {problem}"


def _plain(
    loader: _Loader,
    node: yaml.Node,
    path: KeyPath,
    lines: dict[KeyPath, int],
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
        lines[here] = marked.start_mark.line + 1
        values[key] = _plain(loader, value, here, lines, (*around, node))
    return values if isinstance(node, yaml.MappingNode) else list(values.values())


def _scalar(loader: _Loader, node: yaml.ScalarNode) -> Any:
    try:
        return loader.construct_object(node)
    except ValueError as error:
        raise _RefusedError(str(error), node) from error
