"""Plugins: external code that registers models, backbones, formats, transforms, metrics, losses and loggers.

There are two kinds of plugins. An installed package declares its modules by entry points of the group
`visionkit.plugins`. The user names a single Python file in a recipe (`plugins: [my_model.py]`) or on the command line
(`--plugin my_model.py`). Installed plugins are imported when a name is looked up that visionkit does not have. Files
are imported only if the user names them. A checkpoint never imports a plugin.
"""

import functools
import importlib
import importlib.metadata
import importlib.util
import logging
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from visionkit.errors import ConfigError

GROUP = "visionkit.plugins"
"""Group of the entry points. The value of each entry point is a module."""

PACKAGE = __name__.partition(".")[0]

logger = logging.getLogger("visionkit")

_registering: dict[str, None] = {}
"""Modules outside the package that have registered entries, in order."""


def installed_plugins() -> list[str]:
    """Return the plugin modules of installed packages without importing them."""
    return sorted({entry.module for entry in importlib.metadata.entry_points(group=GROUP)})


@functools.cache
def import_installed() -> None:
    """Import the plugins of installed packages once. A plugin that cannot be imported is skipped with a warning."""
    for module in installed_plugins():
        try:
            importlib.import_module(module)
        except Exception as error:  # other names must be found whatever the error is
            logger.warning("the installed plugin %s cannot be imported: %s: %s", module, type(error).__name__, error)


def import_file(path: Path) -> ModuleType:
    """Import a plugin once from a Python file, as a module with the name of the file.

    The file's folder is added to the end of `sys.path`, so that the plugin can import neighboring files, and loader
    processes can import the plugin.

    Raises:
        ConfigError: the file does not exist, has the name of another module, or fails when it is imported.
    """
    path = path.resolve()
    name = module_name(path)
    if name in sys.modules and _file_of(sys.modules[name]) == path:
        return sys.modules[name]
    if name in sys.modules or _is_installed(name, path):
        raise ConfigError(
            f"the plugin {path} has the name of the module {name!r}, which exists already: rename the file"
        )
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise ConfigError(f"the plugin {path} cannot be imported: {type(error).__name__}: {error}") from error
    return module


def module_name(path: Path) -> str:
    """Return the module name under which a plugin file is imported.

    Raises:
        ConfigError: the file does not exist or is not a Python file with an importable name.
    """
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise ConfigError(f"a plugin is a Python file with a name that can be imported (my_model.py), not {path}")
    if not os.path.isfile(path):  # False also for a name that no file can have
        raise ConfigError(f"there is no plugin {path}")
    return path.stem


def note_registration(module: str) -> None:
    """Record that `module` has registered an entry, if it is not part of visionkit."""
    if module.partition(".")[0] != PACKAGE:
        _registering[module] = None


def registering_modules() -> list[str]:
    """Return the modules outside visionkit that have registered entries in this process, for checkpoints."""
    return list(_registering)


def how_to_import(recorded: Iterable[str]) -> str:
    """Return instructions for importing the missing plugins of a checkpoint; "" if none is missing."""
    missing = [module for module in recorded if module not in _registering]
    if not missing:
        return ""
    if missing == ["__main__"]:
        return "it was registered by the script that trained it: run that code first, or move it into a module"
    modules = [module for module in missing if module != "__main__"]
    files = " ".join(f"--plugin {module}.py" for module in modules if "." not in module)
    on_the_command_line = f", or {files} on the command line" if files else ""
    return (
        f"it was written with the plugin {' and '.join(modules)}, which visionkit does not import by itself\n"
        f"import it first: `import {', '.join(modules)}` in Python{on_the_command_line}"
    )


def _file_of(module: ModuleType) -> Path | None:
    return Path(module.__file__).resolve() if module.__file__ else None


def _is_installed(name: str, path: Path) -> bool:
    """Return whether `import name` would import a module other than the file at `path`."""
    spec = importlib.util.find_spec(name)
    return spec is not None and (spec.origin is None or Path(spec.origin).resolve() != path)
