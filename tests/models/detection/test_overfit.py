"""Each detector overfits eight images, two of them empty, and predicts the right classes."""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch

from visionkit.backbones import create_backbone
from visionkit.data.batch import to_target, to_tensor
from visionkit.data.datasets.shapes import Shapes
from visionkit.metrics.detection import detection_metrics
from visionkit.models import create_model

SIZE = 64


@dataclass
class Training:
    """Settings with which a detector overfits eight images in seconds.

    Attributes:
        steps: optimizer steps, each with all eight images.
        stages: of a ResNet-18.
        lr: learning rate of Adam.
        cosine: whether the learning rate falls to 0, so that BatchNorm's running statistics catch up.
        options: of the model.
    """

    steps: int
    stages: list[str] = field(default_factory=lambda: ["s16"])
    lr: float = 1e-3
    cosine: bool = True
    options: dict[str, Any] = field(default_factory=dict)


# Without ignored anchors: an overfitted model scores those between the two thresholds at random.
FEW_PROPOSALS = {
    "rpn": {
        "bg_iou": 0.5,
        "pre_nms_top_n_train": 200,
        "post_nms_top_n_train": 60,
        "pre_nms_top_n_test": 200,
        "post_nms_top_n_test": 60,
    },
    "roi": {"batch_size_per_image": 32},
}
PYRAMID = {**FEW_PROPOSALS, "fpn_channels": 32, "head_channels": 64, "anchors": {"sizes": [[20], [32], [44]]}}

TRAININGS = {
    "retinanet": Training(
        steps=150,
        stages=["s8", "s16"],
        cosine=False,
        options={
            "bg_iou": 0.5,
            "fpn_channels": 32,
            "anchors": {"sizes": [[side, 5 * side // 4, 8 * side // 5] for side in (16, 24, 32, 48)]},
        },
    ),
    "ssd": Training(steps=70, stages=["s8", "s16"], options={"extra_channels": (64,)}),
    "yolov1": Training(
        steps=80, options={"head_channels": 64, "head_stride": 1, "grid": 4, "hidden": 256, "dropout": 0.0}
    ),
    "yolov2": Training(
        steps=80,
        stages=["s16", "s32"],
        options={"head_channels": 64, "passthrough_channels": 16, "anchor_shapes": [[16, 16], [28, 28], [42, 42]]},
    ),
    "fast_rcnn": Training(
        steps=60, options={"head_channels": 128, "head_dropout": 0.0, "roi": {"batch_size_per_image": 64}}
    ),
    "faster_rcnn": Training(steps=90, stages=["s8", "s16"], options=PYRAMID),
    "mask_rcnn": Training(steps=80, stages=["s8", "s16"], options={**PYRAMID, "mask_channels": 16}),
    # maps of 4 x 4 positions need RoIAlign
    "rfcn": Training(
        steps=150,
        lr=2e-3,
        options={**FEW_PROPOSALS, "head_channels": 256, "anchors": {"sizes": [[16, 24, 36]]}, "pooling": "align"},
    ),
}


def proposals(boxes):
    """Return shifted boxes of the objects, and random boxes."""
    generator = torch.Generator().manual_seed(0)
    near = boxes.repeat(12, 1)
    sides = (near[:, 2:] - near[:, :2]).repeat(1, 2)
    near = near + 0.1 * sides * torch.randn(near.shape, generator=generator)
    centers = SIZE * torch.rand(40, 2, generator=generator)
    half = SIZE * (0.1 + 0.2 * torch.rand(40, 2, generator=generator))
    regions = torch.cat([near, torch.cat([centers - half, centers + half], dim=1)]).clamp(0, SIZE)
    return regions[(regions[:, 2:] > regions[:, :2] + 2).all(dim=1)]


QUICK = {"faster_rcnn", "ssd", "yolov1"}
"""One detector of each kind, for the default test run."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in sorted(TRAININGS)]
)
def test_a_detector_overfits_eight_images(name):
    shapes = Shapes(split="train", count=8, size=SIZE, min_object=0.3, max_object=0.7, max_objects=2, empty_share=0.3)
    samples = [shapes[index] for index in range(8)]
    targets = [to_target(sample) for sample in samples]
    assert [len(target["boxes"]) for target in targets].count(0) == 2
    images = [to_tensor(sample.image).float() / 128 - 1 for sample in samples]
    regions = [proposals(target["boxes"]) for target in targets]
    training = TRAININGS[name]
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", weights="none", out_stages=training.stages)
    network = create_model(name, backbone, len(shapes.class_names), **training.options).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=training.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimizer, training.steps, 0.0 if training.cosine else training.lr
    )
    training_targets = [{**target, "proposals": boxes} for target, boxes in zip(targets, regions, strict=True)]
    for _ in range(training.steps):
        optimizer.zero_grad()
        sum(network(images, training_targets).values()).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        arguments = {"proposals": regions} if network.takes_proposals else {}
        predictions = network.eval()(images, **arguments)
    metric = detection_metrics.get("coco")(class_names=shapes.class_names)
    metric.update(predictions, targets)
    assert metric.compute().overall["AP50"] > 0.95
