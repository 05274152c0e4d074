"""Small trained models, written once, and their checkpoints as bytes."""

import functools
import io

import torch

from tests.helpers.small_classifier import small_classification
from visionkit.backbones import create_backbone
from visionkit.models import create_model
from visionkit.preprocessing.detection import DetectionPreprocessOptions
from visionkit.preprocessing.segmentation import SegmentationPreprocessOptions
from visionkit.tasks import Detection, Segmentation

RECIPE = {
    "task": "classification",
    "model": {"name": "classifier", "backbone": {"name": "cifar_resnet20", "weights": "none"}},
    "data": {"format": "shapes", "splits": {"val": {"split": "val", "count": 2, "size": 32, "max_objects": 1}}},
    "trainer": {"max_epochs": 1},
}


@functools.cache
def content(task):
    """Return the content of a checkpoint of a small model of a task."""
    torch.manual_seed(0)
    if task == "classification":
        trained = small_classification(["cat", "dog"])
    elif task == "detection":
        backbone = create_backbone("cifar_resnet20", weights="none")
        network = create_model("faster_rcnn", backbone, 2, fpn_channels=8, head_channels=8)
        trained = Detection(network, ["cat", "dog"], preprocess=DetectionPreprocessOptions(short_side=32, long_side=64))
    else:
        network = create_model("fcn32s", create_backbone("cifar_resnet20", weights="none"), 2)
        trained = Segmentation(network, ["cat", "dog"], preprocess=SegmentationPreprocessOptions())
    trained.recipe = {**RECIPE, "task": task}
    return {"visionkit": trained.description(), "state_dict": trained.state_dict()}


@functools.cache
def checkpoint(task):
    """Return the bytes of a checkpoint of a small model of a task."""
    buffer = io.BytesIO()
    torch.save(content(task), buffer)
    return buffer.getvalue()
