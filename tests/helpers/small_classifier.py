"""A classification task that trains in a second."""

import torch

from visionkit.backbones import create_backbone
from visionkit.data.datamodule import VisionData
from visionkit.models import create_model
from visionkit.preprocessing.classification import ClassificationPreprocessOptions
from visionkit.tasks import Classification, OptimizerOptions, ScheduleOptions

SIDE = 32


def small_images(train=8, val=6, **options):
    """Shapes of 32 x 32 pixels with one object each, in batches of four."""
    common = {"size": SIDE, "min_object": 0.5, "max_object": 0.9}
    alone = {} if options.get("required") == "tags" else {"max_objects": 1, "empty_share": 0.0}
    splits = {
        name: {"split": name, "count": count, **common, **alone} for name, count in (("train", train), ("val", val))
    }
    defaults = {"batch_size": 4, "num_workers": 0, "required": "label"}
    data = VisionData(format="shapes", splits=splits, **{**defaults, **options})
    data.tested_split = "val"
    return data


def small_network(classes, backbone="cifar_resnet20", **options):
    """Return a randomly initialized classifier."""
    torch.manual_seed(0)
    return create_model("classifier", create_backbone(backbone, weights="none"), classes, **options)


def small_checkpoint(path, class_names):
    """Write a checkpoint of a classifier with random values, as `vk.load` reads it, and return its path."""
    task = small_classification(class_names)
    torch.save({"visionkit": task.description(), "state_dict": task.state_dict()}, path)
    return path


def small_classification(class_names, network=None, multi_label=False, **options):
    """ResNet-20 for images of 32 x 32 pixels."""
    defaults = {
        "preprocess": ClassificationPreprocessOptions(short_side=SIDE, crop=SIDE),
        "optimizer": OptimizerOptions(name="adamw", lr=0.003, base_batch_size=4, scale_lr=False, weight_decay=0.0),
        "schedule": ScheduleOptions(name="constant", warmup_steps=0),
    }
    network = network or small_network(len(class_names), multi_label=multi_label)
    return Classification(network, class_names, **{**defaults, **options})
