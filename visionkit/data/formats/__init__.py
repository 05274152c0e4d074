"""Readers, one file a format; a new file is found by itself."""

import importlib
import pkgutil

from visionkit.data.formats.registry import formats

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)

__all__ = ["formats"]
