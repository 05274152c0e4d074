"""Every registered detector, small enough to train and predict in a second."""

import math

import numpy as np
import pytest
import torch
from pycocotools import mask as rle

from tests.helpers.built_once import copy_of
from tests.helpers.detectors import target
from tests.helpers.options import merge_options
from visionkit.backbones import create_backbone
from visionkit.models import create_model

GIVEN = {"head_channels": 16, "roi": {"batch_size_per_image": 16}}
REGIONS = {
    "rpn": {"pre_nms_top_n_train": 100, "pre_nms_top_n_test": 100},
    "roi": {"batch_size_per_image": 16},
    "head_channels": 16,
}
S16 = {"out_stages": ["s16"]}

SMALL = {
    "retinanet": ("resnet18", {}, {"fpn_channels": 16, "prior_probability": 0.1}),
    "sliding_window": ("patch_cnn_33", {}, {"windows": {"sizes": (40.0,), "context": 4}, "head_channels": 32}),
    # No third level: PyTorch on CPU returns wrong bf16 gradients of a strided convolution on one cell.
    "ssd": ("resnet18", {}, {"extra_channels": (32, 32)}),
    "yolov1": ("resnet18", {}, {"head": "convolutional", "head_channels": 32, "head_stride": 1, "grid": 3}),
    "yolov2": ("resnet18", {}, {"anchor_shapes": [[20, 20], [40, 60]], "head_channels": 32}),
    "faster_rcnn": ("resnet18", {}, {"fpn_channels": 16, **REGIONS}),
    "mask_rcnn": ("resnet18", {}, {"fpn_channels": 16, "mask_channels": 16, **REGIONS}),
    "rfcn": ("resnet18", S16, REGIONS),
    "fast_rcnn": ("resnet18", S16, {"head_dropout": 0.0, **GIVEN}),
    "rcnn": ("alexnet", {}, {"warp_size": 67, "context": 4, **GIVEN}),
}
"""Backbone, options of the backbone, and options of each detector that make it small."""

EVERY = pytest.mark.parametrize("name", sorted(SMALL))


def small(name, **more_options):
    return built(name, **more_options) if more_options else copy_of(built, name)


def built(name, **more_options):
    torch.manual_seed(0)
    backbone, backbone_options, options = SMALL[name]
    backbone = create_backbone(backbone, weights="none", **backbone_options)
    return create_model(name, backbone, 3, **merge_options(options, more_options))


def full_target(boxes, size):
    """Return a target for any detector: boxes of class 1, their masks, and the boxes as proposals."""
    masks = [np.zeros(size, np.uint8, order="F") for _ in boxes]
    for mask, (left, top, right, bottom) in zip(masks, boxes, strict=True):
        mask[int(top) : math.ceil(bottom), int(left) : math.ceil(right)] = 1
    proposals = torch.tensor(boxes, dtype=torch.float32).view(-1, 4)
    return target(boxes, [1] * len(boxes), masks=[rle.encode(mask) for mask in masks], proposals=proposals)


def train_step(network, inputs, targets):
    """Return the losses of a step. All must be finite, and every parameter has a gradient, as DDP requires."""
    losses = network.train()(inputs, targets)
    sum(losses.values()).backward()
    assert all(math.isfinite(value.item()) for value in losses.values())
    gradients = {name: value.grad for name, value in network.named_parameters() if value.requires_grad}
    assert [name for name, gradient in gradients.items() if gradient is None] == []
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    return losses


def predict(network, inputs, proposals):
    given = {"proposals": proposals} if network.takes_proposals else {}
    with torch.inference_mode():
        return network.eval()(inputs, **given)
