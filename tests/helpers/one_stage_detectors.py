"""Every one-stage detector, small enough to train and predict in a second."""

import torch

from tests.helpers.built_once import copy_of
from visionkit.backbones import create_backbone
from visionkit.models import create_model

SMALL = {
    "retinanet": {"fpn_channels": 16},
    "sliding_window": {
        "windows": {"sizes": (40.0,), "context": 4},
        "sampling": {"batch_size_per_image": 400, "hard_fraction": 1.0},
        "head_channels": 32,
        "head_dropout": 0.0,
        "box_regression": True,
    },
    "ssd": {"extra_channels": (32, 32, 32)},
    "yolov1": {"head": "convolutional", "head_channels": 32, "head_stride": 1, "grid": 3},
    "yolov2": {"anchor_shapes": [[20, 20], [40, 60]], "head_channels": 32, "passthrough_channels": 8},
}
"""Options that make each one-stage detector small, and its output the same in training as in evaluation."""

BACKBONES = {"sliding_window": "patch_cnn_33"}
"""The other detectors are on a ResNet-18."""


def backbone_for(name):
    return create_backbone(BACKBONES.get(name, "resnet18"), weights="none")


def small(name, **options):
    return built(name, **options) if options else copy_of(built, name)


def built(name, **options):
    torch.manual_seed(0)
    return create_model(name, backbone_for(name), 3, **{**SMALL[name], **options})
