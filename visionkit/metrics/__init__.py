"""Metrics that torchmetrics lacks: COCO and VOC average precision over a whole set, best F1 per class."""
