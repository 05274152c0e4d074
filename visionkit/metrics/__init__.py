"""Metrics that torchmetrics lacks: COCO's and VOC's average precision over a whole set."""

from visionkit.metrics.coco import CocoAP
from visionkit.metrics.registry import metrics
from visionkit.metrics.voc import VocAP

__all__ = ["CocoAP", "VocAP", "metrics"]
