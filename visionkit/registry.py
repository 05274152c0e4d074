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
        package: dotted name of the package whose modules register entries; they are imported at the first lookup.
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
        self._import_package()
        if name not in self._entries:
            raise ConfigError(f"unknown {self.kind} {name!r}{suggest(name, self._entries)}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        self._import_package()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._import_package()
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        self._import_package()
        return len(self._entries)

    def _import_package(self) -> None:
        """Import every module of the package once, so that their decorators run."""
        if self._package is None:
            return
        package, self._package = importlib.import_module(self._package), None
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)


def suggest(name: str, known: Iterable[str]) -> str:
    """Phrase that points from a mistyped `name` to what is known: the near names, else the first few."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3)
    if near:
        return f"; did you mean {' or '.join(near)}?"
    listed = ", ".join(names[:12])
    return f"; known: {listed}{', ...' if len(names) > 12 else ''}" if names else ""
