"""Metrics that torchmetrics lacks: COCO and VOC average precision, best F1 per class, boundary F1.

>>> import visionkit as vk
>>> vk.metrics.CocoAP(["cat", "dog"]).main_metric
'AP'
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from visionkit.metrics.boundary_f1 import BoundaryF1
    from visionkit.metrics.classification import MultiLabelMetrics, SingleLabelMetrics
    from visionkit.metrics.coco import CocoAP, CocoMaskAP
    from visionkit.metrics.operating_point import BestF1
    from visionkit.metrics.segmentation import SegmentationMetrics
    from visionkit.metrics.torchmetrics_names import to_torchmetrics
    from visionkit.metrics.voc import VocAP

__all__ = [
    "BestF1",
    "BoundaryF1",
    "CocoAP",
    "CocoMaskAP",
    "MultiLabelMetrics",
    "SegmentationMetrics",
    "SingleLabelMetrics",
    "VocAP",
    "to_torchmetrics",
]

_MODULES = {
    "BestF1": "operating_point",
    "BoundaryF1": "boundary_f1",
    "CocoAP": "coco",
    "CocoMaskAP": "coco",
    "MultiLabelMetrics": "classification",
    "SegmentationMetrics": "segmentation",
    "SingleLabelMetrics": "classification",
    "VocAP": "voc",
    "to_torchmetrics": "torchmetrics_names",
}
"""Module of each name, the same as in the imports above, which only type checkers read."""

if not TYPE_CHECKING:  # type checkers would take any name for one of the package

    def __getattr__(name: str) -> Any:
        if name not in _MODULES:
            raise AttributeError(f"module 'visionkit.metrics' has no attribute {name!r}")
        return getattr(importlib.import_module(f"visionkit.metrics.{_MODULES[name]}"), name)
