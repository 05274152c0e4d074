"""visionkit: classification, detection and segmentation with PyTorch Lightning.

Importing the package imports nothing heavy; the names below are loaded when they are first used.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "load": "visionkit.pipelines",
    "create_backbone": "visionkit.backbones",
    "create_model": "visionkit.models",
    "VisionData": "visionkit.data.datamodule",
}
_REGISTRIES = {"models": "visionkit.models", "tasks": "visionkit.tasks"}
"""Their classes are names of the package, too (FasterRCNN, Detection)."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    # a module's name is asked for here before it is imported, and must not import the networks
    found = _registered().get(name) if name[:1].isupper() else None
    if found is None:
        raise AttributeError(f"module 'visionkit' has no attribute {name!r}")
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES, *_registered()})


def _registered() -> dict[str, type]:
    """The classes of networks and tasks by their names."""
    registries = [getattr(importlib.import_module(home), name) for name, home in _REGISTRIES.items()]
    return {registry.get(name).__name__: registry.get(name) for registry in registries for name in registry}
