"""Each detector learns eight images by heart, two of them empty, and gives the right classes back."""

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
class Lesson:
    """What a detector needs to learn eight images in seconds.

    Attributes:
        steps: all eight images in each.
        stages: of a ResNet-18.
        lr: Adam's.
        falls: whether that falls to 0, so that BatchNorm's running statistics catch up; focal loss is too slow for it.
        options: the network's, small.
    """

    steps: int
    stages: list[str] = field(default_factory=lambda: ["s16"])
    lr: float = 1e-3
    falls: bool = True
    options: dict[str, Any] = field(default_factory=dict)


# Learned by heart, anchors between the two thresholds say anything: they are never told that they are wrong.
FEW_PROPOSALS = {
    "rpn_bg_iou": 0.5,
    "rpn_pre_nms_top_n_train": 200,
    "rpn_post_nms_top_n_train": 60,
    "rpn_pre_nms_top_n_test": 200,
    "rpn_post_nms_top_n_test": 60,
    "box_batch_size": 32,
}
PYRAMID = {**FEW_PROPOSALS, "fpn_channels": 32, "head_channels": 64, "anchor_sizes": [[20], [32], [44]]}

LESSONS = {
    "retinanet": Lesson(
        steps=150,
        stages=["s8", "s16"],
        falls=False,
        options={
            "bg_iou": 0.5,
            "fpn_channels": 32,
            "anchor_sizes": [[side, 5 * side // 4, 8 * side // 5] for side in (16, 24, 32, 48)],
        },
    ),
    "ssd": Lesson(steps=70, stages=["s8", "s16"], options={"extra_channels": (64,)}),
    "yolov1": Lesson(
        steps=80, options={"head_channels": 64, "head_stride": 1, "grid": 4, "hidden": 256, "dropout": 0.0}
    ),
    "yolov2": Lesson(
        steps=80,
        stages=["s16", "s32"],
        options={"head_channels": 64, "passthrough_channels": 16, "anchors": [[16, 16], [28, 28], [42, 42]]},
    ),
    "fast_rcnn": Lesson(steps=60, options={"head_channels": 128, "head_dropout": 0.0, "box_batch_size": 64}),
    "faster_rcnn": Lesson(steps=90, stages=["s8", "s16"], options=PYRAMID),
    "mask_rcnn": Lesson(steps=80, stages=["s8", "s16"], options={**PYRAMID, "mask_channels": 16}),
    # maps of four by four places are read between these
    "rfcn": Lesson(
        steps=150,
        lr=2e-3,
        options={**FEW_PROPOSALS, "head_channels": 256, "anchor_sizes": [[16, 24, 36]], "pooling": "align"},
    ),
}


def proposals(boxes):
    """The objects a little beside themselves, and boxes anywhere."""
    generator = torch.Generator().manual_seed(0)
    near = boxes.repeat(12, 1)
    sides = (near[:, 2:] - near[:, :2]).repeat(1, 2)
    near = near + 0.1 * sides * torch.randn(near.shape, generator=generator)
    centers = SIZE * torch.rand(40, 2, generator=generator)
    half = SIZE * (0.1 + 0.2 * torch.rand(40, 2, generator=generator))
    found = torch.cat([near, torch.cat([centers - half, centers + half], dim=1)]).clamp(0, SIZE)
    return found[(found[:, 2:] > found[:, :2] + 2).all(dim=1)]


@pytest.mark.parametrize("name", sorted(LESSONS))
def test_eight_images_are_learned_by_heart(name):
    shapes = Shapes(split="train", count=8, size=SIZE, min_object=0.3, max_object=0.7, max_objects=2, empty_share=0.3)
    samples = [shapes[index] for index in range(8)]
    targets = [to_target(sample) for sample in samples]
    assert [len(target["boxes"]) for target in targets].count(0) == 2
    images = [to_tensor(sample.image).float() / 128 - 1 for sample in samples]
    given = [proposals(target["boxes"]) for target in targets]
    lesson = LESSONS[name]
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", weights="none", out_stages=lesson.stages)
    network = create_model(name, backbone, len(shapes.class_names), **lesson.options).train()
    optimizer = torch.optim.Adam(network.parameters(), lr=lesson.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, lesson.steps, 0.0 if lesson.falls else lesson.lr)
    taught = [{**target, "proposals": boxes} for target, boxes in zip(targets, given, strict=True)]
    for _ in range(lesson.steps):
        optimizer.zero_grad()
        sum(network(images, taught).values()).backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        told = {"proposals": given} if getattr(network, "takes_proposals", False) else {}
        found = network.eval()(images, **told)
    metric = detection_metrics.get("coco")(class_names=shapes.class_names)
    metric.update(found, targets)
    assert metric.compute().overall["AP50"] > 0.95
