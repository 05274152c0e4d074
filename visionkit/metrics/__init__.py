"""Metrics that torchmetrics lacks: COCO and VOC average precision, best F1 per class, boundary F1."""
