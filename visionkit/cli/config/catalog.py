"""Names that visionkit and its plugins register, read from source without importing it."""

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from visionkit import plugins
from visionkit.cli.config import python_source
from visionkit.cli.config.python_source import Definition, Expression, Module, Variable, find_module, member, resolve

REGISTRIES = {
    "models": ("visionkit.models.create", "models"),
    "backbones": ("visionkit.backbones.base", "backbones"),
    "formats": ("visionkit.data.datasets.base", "formats"),
    "transforms": ("visionkit.data.transforms.create", "transforms"),
    "metrics": ("visionkit.metrics.detection", "detection_metrics"),
    "losses": ("visionkit.ops.segmentation_losses", "losses"),
    "optimizers": ("visionkit.tasks.optimizers", "optimizers"),
    "schedules": ("visionkit.tasks.schedules", "schedules"),
    "loggers": ("visionkit.engine.logger_options", "loggers"),
    "tasks": ("visionkit.tasks.base", "tasks"),
}
"""Module and variable of each registry."""

_plugin_files: dict[Path, None] = {}


@dataclass(frozen=True)
class Entry:
    """Class or function that is registered under a name.

    Attributes:
        name: name of the entry in the registry.
        definition: the class or function.
    """

    name: str
    definition: Definition

    @property
    def plugin(self) -> str:
        """Module that registers the entry if it is not part of visionkit; otherwise ""."""
        module = self.definition.module.name
        return "" if module.partition(".")[0] == plugins.PACKAGE else module


def add_plugin_file(path: Path) -> None:
    """Add the names that a plugin file registers to the catalog. The file is read, not imported.

    Raises:
        ConfigError: the file does not exist or is not a Python file.
    """
    path = path.resolve()
    if path not in _plugin_files:
        python_source.ROOTS[plugins.module_name(path)] = path
        _plugin_files[path] = None
        forget()


def forget_plugin_files() -> None:
    """Remove the names of plugin files from the catalog."""
    for path in _plugin_files:
        python_source.ROOTS.pop(path.stem, None)
    _plugin_files.clear()
    forget()


def forget() -> None:
    """Clear all cached values that depend on plugins."""
    for cached in (find_module, member, registered):
        cached.cache_clear()


@functools.cache
def registered(registry: str) -> dict[str, Entry]:
    """Return the entries of a registry by name, including those of plugins.

    Args:
        registry: key of `REGISTRIES`.
    """
    variable = member(_known_module(REGISTRIES[registry][0]), REGISTRIES[registry][1])
    assert isinstance(variable, Variable)
    entries: dict[str, Entry] = {}
    for module in [*_own_modules(), *_plugin_modules()]:
        for entry in _entries(module, variable):
            entries.setdefault(entry.name, entry)
    return entries


@functools.cache
def _own_modules() -> tuple[Module, ...]:
    """Return the visionkit modules that may register entries. A text search avoids parsing the other modules."""
    root = python_source.ROOTS[plugins.PACKAGE]
    files = [path for path in sorted(root.rglob("*.py")) if ".register(" in path.read_text(encoding="utf-8")]
    return tuple(Module(".".join([root.name, *path.relative_to(root).with_suffix("").parts]), path) for path in files)


def _plugin_modules() -> Iterator[Module]:
    """Yield modules of installed plugins, modules that they import from their own package, and plugin files."""
    names = [*plugins.installed_plugins(), *(path.stem for path in _plugin_files)]
    waiting = [found for name in names if (found := find_module(name)) is not None]
    seen: set[Module] = set()
    while waiting:
        module = waiting.pop(0)
        if module not in seen:
            seen.add(module)
            yield module
            top = module.name.partition(".")[0]
            waiting += [
                other for other in python_source.imported_modules(module) if other.name.partition(".")[0] == top
            ]


def _known_module(name: str) -> Module:
    module = find_module(name)
    assert module is not None, name
    return module


def _entries(module: Module, registry: Variable) -> Iterator[Entry]:
    for node in module.tree.body:
        if isinstance(node, python_source.Node):
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and _registry(Expression(module, mark.func)) == registry:
                    yield from (Entry(name, Definition(module, node)) for name in _literal_names(mark))


def _literal_names(call: ast.Call) -> list[str]:
    return [name.value for name in call.args if isinstance(name, ast.Constant) and isinstance(name.value, str)]


def _registry(decorator: Expression) -> Variable | None:
    """Return the registry of a decorator `models.register`, or of a variable for it such as `register_model`."""
    node, module = decorator.node, decorator.module
    if isinstance(node, ast.Attribute) and node.attr == "register":
        owner = resolve(Expression(module, node.value))
        return owner if isinstance(owner, Variable) else None
    found = resolve(decorator)
    if not isinstance(found, Variable) or not isinstance(found.value, ast.Attribute):
        return None
    return _registry(Expression(found.module, found.value))
