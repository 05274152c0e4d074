"""Names for things: a class or function enters by decorator and is looked up by that name."""

import difflib
import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from visionkit.errors import ConfigError

T = TypeVar("T")


class Registry(Generic[T]):
    """A named collection that is filled by decorators.

    Args:
        kind: what it holds, in the singular, for error messages ("backbone").
        package: dotted name of the package whose modules register entries. A lookup imports the module that the name
            begins with (`fcn` for "fcn8s"), and all modules if the entry is not there.
    """

    def __init__(self, kind: str, package: str | None = None) -> None:
        self.kind = kind
        self._package = package
        self._entries: dict[str, T] = {}

    def register(self, *names: str) -> Callable[[T], T]:
        """Enter the decorated object under each of `names`; a name that is taken raises ValueError."""

        def enter(entry: T) -> T:
            for name in names:
                if name in self._entries:
                    raise ValueError(f"{self.kind} {name!r} is registered twice")
                self._entries[name] = entry
            return entry

        return enter

    def get(self, name: str) -> T:
        """Return the entry called `name`; an unknown name raises ConfigError with the nearest ones."""
        if name not in self:
            raise ConfigError(f"unknown {self.kind} {name!r}{suggest(name, self._entries)}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        if name not in self._entries and isinstance(name, str):
            self._import_modules_like(name)
        if name not in self._entries:
            self._import_package()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._import_package()
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        self._import_package()
        return len(self._entries)

    def _import_modules_like(self, name: str) -> None:
        """Import modules that `name` begins with until one registers it: loading one model should not import all."""
        like = [module for module in self._modules() if name.startswith(module.rpartition(".")[2])]
        for module in sorted(like, key=lambda module: len(module.rpartition(".")[2]), reverse=True):
            importlib.import_module(module)
            if name in self._entries:
                return

    def _import_package(self) -> None:
        """Import every module of the package once, so that their decorators run."""
        modules, self._package = self._modules(), None
        for module in modules:
            importlib.import_module(module)

    def _modules(self) -> list[str]:
        """Return the dotted names of the package's modules; none if all have been imported."""
        if self._package is None:
            return []
        package = importlib.import_module(self._package)
        return [module.name for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]


def suggest(name: str, known: Iterable[str]) -> str:
    """Phrase that points from a mistyped `name` to what is known: the near names, else the first few."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    listed = ", ".join(names[:12])
    return f"; known: {listed}{', ...' if len(names) > 12 else ''}" if names else ""
