"""visionkit: classification, detection and segmentation with PyTorch Lightning.

Importing the package imports nothing heavy; the names below are loaded when they are first used.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "load": "visionkit.engine.predict",
    "Predictor": "visionkit.engine.predict",
    "create_backbone": "visionkit.backbones",
    "create_model": "visionkit.models",
    "FasterRCNN": "visionkit.models.detection.faster_rcnn",
    "Detection": "visionkit.tasks",
    "VisionData": "visionkit.data.datamodule",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'visionkit' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
