"""Code from outside the package that registers models, backbones, formats, transforms, metrics and losses.

There are two kinds of plugins. An installed package announces its modules by entry points of the group
`visionkit.plugins`. A single Python file is named by the user, in a recipe (`plugins: [my_model.py]`) or on the command
line (`--plugin my_model.py`). Installed plugins are imported when a name is looked up that visionkit does not have.
Files are imported only where the user names them. A checkpoint never imports a plugin.
"""

import functools
import importlib
import importlib.metadata
import importlib.util
import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from visionkit.errors import ConfigError

GROUP = "visionkit.plugins"
"""Group of the entry points; the value of each is a module."""

PACKAGE = __name__.partition(".")[0]

logger = logging.getLogger("visionkit")

_registering: dict[str, None] = {}
"""Modules outside the package that have registered something, in order."""


def installed_plugins() -> list[str]:
    """Return the modules that installed packages announce, without importing them."""
    return sorted({entry.module for entry in importlib.metadata.entry_points(group=GROUP)})


@functools.cache
def import_installed() -> None:
    """Import the plugins of installed packages, once. One that cannot be imported is reported and left out."""
    for module in installed_plugins():
        try:
            importlib.import_module(module)
        except Exception as error:  # whatever is wrong with it, other names must still be found
            logger.warning("the installed plugin %s cannot be imported: %s: %s", module, type(error).__name__, error)


def import_file(path: Path) -> ModuleType:
    """Import a plugin from a Python file, once, as a module that has the file's name.

    The file's folder is added to the end of `sys.path`: its neighbors can be imported, and loader processes find it.

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
    """Return the name under which a plugin file is imported.

    Raises:
        ConfigError: it is not a Python file with a name that can be imported, or does not exist.
    """
    if path.suffix != ".py" or not path.stem.isidentifier():
        raise ConfigError(f"a plugin is a Python file with a name that can be imported (my_model.py), not {path}")
    if not path.is_file():
        raise ConfigError(f"there is no plugin {path}")
    return path.stem


def note_registration(module: str) -> None:
    """Remember that `module` has registered something, if it is not part of visionkit."""
    if module.partition(".")[0] != PACKAGE:
        _registering[module] = None


def registering_modules() -> list[str]:
    """Return the modules outside visionkit that have registered something in this process, for checkpoints."""
    return list(_registering)


def how_to_import(recorded: Iterable[str]) -> str:
    """Return what to do about plugins that a checkpoint was written with and that are not imported; "" if all are."""
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
    """Return whether `import name` would import something else than the file at `path`."""
    spec = importlib.util.find_spec(name)
    return spec is not None and (spec.origin is None or Path(spec.origin).resolve() != path)
