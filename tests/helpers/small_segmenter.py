"""A segmentation task that trains in a second."""

import torch
from torch import nn

from visionkit.data.datamodule import VisionData
from visionkit.models.base import SegmentationModel
from visionkit.tasks import OptimizerOptions, ScheduleOptions, Segmentation

SIDE = 32


class SmallSegmenter(SegmentationModel):
    """Three convolutions without stride; not registered."""

    def __init__(self, classes, width=16):
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 3, padding=1)
        )
        self.classifier = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        return self.classifier(torch.relu(self.backbone(x)))


class ColorSegmenter(SegmentationModel):
    """Class of each pixel from its own color, so that crops and tiles give the same result."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Identity()
        self.scale = nn.Parameter(torch.tensor(3.0))

    def forward(self, x):
        return self.scale * x


def small_masks(train=8, val=6, **options):
    """Shapes of 32 x 32 pixels with their masks, in batches of four."""
    common = {"size": SIDE, "min_object": 0.5, "max_object": 0.9, "semantic": True}
    splits = {name: {"split": name, "count": count, **common} for name, count in (("train", train), ("val", val))}
    defaults = {"batch_size": 4, "num_workers": 0, "required": "semantic"}
    data = VisionData(format="shapes", splits=splits, **{**defaults, **options})
    data.tested_split = "val"
    return data


def small_segmentation(class_names, network=None, **options):
    """The small network for the classes."""
    defaults = {
        "optimizer": OptimizerOptions(name="adamw", lr=0.01, base_batch_size=4, scale_lr=False, weight_decay=0.0),
        "schedule": ScheduleOptions(name="constant", warmup_steps=0),
    }
    return Segmentation(network or SmallSegmenter(len(class_names)), class_names, **{**defaults, **options})
