"""Small trained models, written once, and their checkpoints as bytes."""

import functools
import io

import torch

import visionkit as vk
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
HEADS = {
    "objects": {"name": "faster_rcnn", "fpn_channels": 8, "head_channels": 8},
    "tags": {"name": "classifier", "multi_label": True},
}
MULTI_RECIPE = {
    "task": "multi",
    "model": {"name": "multi", "backbone": {"name": "cifar_resnet20", "weights": "none"}, "heads": HEADS},
    "data": {"cards": {"all": {**RECIPE["data"], "heads": ["objects", "tags"]}}},
    "trainer": {"max_epochs": 1},
}


def several_heads():
    """Return the task of a small model of two heads."""
    heads = {name: {**options, "num_classes": 2} for name, options in HEADS.items()}
    model = vk.MultiHead(create_backbone("cifar_resnet20", weights="none"), num_classes=4, heads=heads)
    preprocess = DetectionPreprocessOptions(short_side=32, long_side=64)
    objects = Detection(model.head("objects"), ["cat", "dog"], preprocess=preprocess)
    tags = vk.ClassificationPreprocessOptions(short_side=32, crop=32)
    return vk.MultiTask(
        model, {"objects": objects, "tags": vk.Classification(model.head("tags"), ["day", "night"], preprocess=tags)}
    )


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
    elif task == "segmentation":
        network = create_model("fcn32s", create_backbone("cifar_resnet20", weights="none"), 2)
        trained = Segmentation(network, ["cat", "dog"], preprocess=SegmentationPreprocessOptions())
    else:
        trained = several_heads()
    trained.recipe = MULTI_RECIPE if task == "multi" else {**RECIPE, "task": task}
    return {"visionkit": trained.description(), "state_dict": trained.state_dict()}


@functools.cache
def checkpoint(task):
    """Return the bytes of a checkpoint of a small model of a task."""
    buffer = io.BytesIO()
    torch.save(content(task), buffer)
    return buffer.getvalue()
