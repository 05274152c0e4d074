"""A detection task that trains in a second."""

from visionkit.backbones import create_backbone
from visionkit.data.datamodule import VisionData
from visionkit.models import create_model
from visionkit.preprocessing.detection import DetectionPreprocessOptions
from visionkit.tasks import Detection, DetectionEvaluationOptions, OptimizerOptions, ScheduleOptions

SIZE = 64


def small_data(train=4, val=3, **options):
    """Shapes of 64 x 64 pixels in batches of two."""
    splits = {
        "train": {"split": "train", "count": train, "size": SIZE},
        "val": {"split": "val", "count": val, "size": SIZE},
    }
    data = VisionData(format="shapes", splits=splits, **{"batch_size": 2, "num_workers": 0, **options})
    data.tested_split = "val"
    return data


STAGES = ["s4", "s8", "s16"]
"""Stages of a ResNet-18 without the last, which has most of the weights."""


def small_task(class_names, network=None, stages=STAGES, **options):
    """Return a task of the network, by default of Faster R-CNN on stages of a randomly initialized ResNet-18."""
    network = network or create_model(
        "faster_rcnn",
        create_backbone("resnet18", weights="none", out_stages=stages),
        len(class_names),
        anchors={"sizes": [[32 * 2**level] for level in range(len(stages) + 1)]},
        fpn_channels=16,
        head_channels=16,
        roi={"batch_size_per_image": 16},
        nms={"score_threshold": 0.0},
    )
    defaults = {
        "preprocess": DetectionPreprocessOptions(short_side=SIZE, long_side=2 * SIZE),
        "optimizer": OptimizerOptions(lr=0.01, base_batch_size=2),
        "schedule": ScheduleOptions(name="constant", warmup_steps=0),
        "evaluation": DetectionEvaluationOptions(),
    }
    return Detection(network, class_names, **{**defaults, **options})
