"""Registries of classes and functions, which are registered by a decorator and looked up by name."""

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from types import FunctionType
from typing import Generic, TypeVar

from visionkit import plugins
from visionkit.errors import ConfigError

T = TypeVar("T")


class Registry(Generic[T]):
    """Collection of classes or functions by name, which are registered by a decorator.

    Args:
        kind: kind of the entries in the singular, for error messages ("backbone").
        package: dotted name of the package whose modules register entries. A lookup imports the module whose name
            is a prefix of the entry's name (`fcn` for "fcn8s"), and all modules if the entry is not found. The
            plugins of installed packages are imported last; see `visionkit.plugins`.

    Example:
        >>> from visionkit.registry import Registry
        >>> colors = Registry("color")
        >>> @colors.register("red")
        ... def red():
        ...     return 255, 0, 0
        >>> colors.get("red")()
        (255, 0, 0)
    """

    def __init__(self, kind: str, package: str | None = None) -> None:
        self.kind = kind
        self._package = package
        self._entries: dict[str, T] = {}

    def register(self, *names: str) -> Callable[[T], T]:
        """Return a decorator that registers a class or function under each of `names`.

        The same definition may be registered again, for example if a notebook cell is run twice.

        Raises:
            ConfigError: another definition is registered under the name.
        """

        def enter(entry: T) -> T:
            for name in names:
                taken = self._entries.get(name)
                if taken is not None and not _is_redefined(taken, entry):
                    raise ConfigError(
                        f"{self.kind} {name!r} is registered twice: in {_module(taken)} and in {_module(entry)}"
                    )
                self._entries[name] = entry
            if isinstance(entry, (type, FunctionType)):
                plugins.note_registration(entry.__module__)
            return entry

        return enter

    def get(self, name: str) -> T:
        """Return the entry `name`. An unknown name raises ConfigError with the nearest known names."""
        if name not in self:
            raise ConfigError(f"unknown {self.kind} {name!r}{suggest(name, self._entries)}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        if name not in self._entries and isinstance(name, str):
            self._import_modules_like(name)
        if name not in self._entries:
            self._import_package()
        if name not in self._entries:
            plugins.import_installed()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._import_package()
        plugins.import_installed()
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _import_modules_like(self, name: str) -> None:
        """Import modules whose name is a prefix of `name` until one registers it, to avoid importing all modules."""
        like = [module for module in self._modules() if name.startswith(module.rpartition(".")[2])]
        for module in sorted(like, key=lambda module: len(module.rpartition(".")[2]), reverse=True):
            importlib.import_module(module)
            if name in self._entries:
                return

    def _import_package(self) -> None:
        """Import every module of the package once, which runs their decorators."""
        modules, self._package = self._modules(), None
        for module in modules:
            importlib.import_module(module)

    def _modules(self) -> list[str]:
        """Return the dotted names of the package's modules; empty if all have been imported."""
        if self._package is None:
            return []
        package = importlib.import_module(self._package)
        return [module.name for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]


def _module(entry: object) -> str:
    """Return the module that defines a class or function, or the class of any other object."""
    return (entry if isinstance(entry, (type, FunctionType)) else type(entry)).__module__


def _is_redefined(first: object, second: object) -> bool:
    """Return whether both are definitions of the same class or function."""
    if not isinstance(first, (type, FunctionType)) or not isinstance(second, (type, FunctionType)):
        return False
    return (first.__module__, first.__qualname__) == (second.__module__, second.__qualname__)


def suggest(name: str, known: Iterable[str]) -> str:
    """Return a phrase with the known names nearest to a mistyped `name`, or with the first few known names."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    listed = ", ".join(names[:12])
    return f"; known: {listed}{', ...' if len(names) > 12 else ''}" if names else ""
