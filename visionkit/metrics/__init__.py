"""Metrics that torchmetrics lacks: COCO's and VOC's average precision over a whole set, and each class's best F1."""

from visionkit.metrics.coco import CocoAP
from visionkit.metrics.operating_point import BestF1
from visionkit.metrics.registry import metrics
from visionkit.metrics.voc import VocAP

__all__ = ["BestF1", "CocoAP", "VocAP", "metrics"]
