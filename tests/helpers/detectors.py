"""Small detectors, images and targets."""

from collections.abc import Sequence

import torch
from torch import Tensor

from tests.helpers.options import merge_options
from visionkit.backbones import create_backbone
from visionkit.models import create_model
from visionkit.models.detection.faster_rcnn import FasterRCNN
from visionkit.models.detection.parts.batch import pad_targets
from visionkit.ops.matching import Objects, PaddedObjects

BACKBONES = {"fpn": {}, "c4": {}, "single": {"out_stages": ["s16"]}}
SMALL = {
    "head_channels": 32,
    "rpn": {"pre_nms_top_n_train": 100, "pre_nms_top_n_test": 100},
    "roi": {"batch_size_per_image": 32},
}


def small_network(variant: str = "fpn", num_classes: int = 3, **options) -> FasterRCNN:
    """Return a ResNet-18 detector that runs in milliseconds."""
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", weights="none", **BACKBONES[variant])
    return create_model("faster_rcnn", backbone, num_classes, variant=variant, **merge_options(SMALL, options))


def images(*sizes: tuple[int, int]) -> list[Tensor]:
    """Return noise of the given heights and widths."""
    generator = torch.Generator().manual_seed(7)
    return [torch.randn(3, *size, generator=generator) for size in sizes]


def target(boxes=(), labels=(), **more) -> dict:
    """Return a target from plain lists."""
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).view(-1, 4),
        "labels": torch.tensor(labels, dtype=torch.int64),
        **more,
    }


def padded(objects: Sequence[Objects]) -> PaddedObjects:
    """Return the ground truth of several images as a detector gets it."""
    targets = []
    for boxes, labels, crowds in objects:
        crowd = torch.tensor([False] * len(boxes) + [True] * len(crowds), dtype=torch.bool)
        all_labels = torch.cat([labels, labels.new_zeros(len(crowds))])
        targets.append({"boxes": torch.cat([boxes, crowds]), "labels": all_labels, "crowd": crowd})
    return pad_targets(targets, num_classes=10**6)
