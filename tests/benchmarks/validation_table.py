"""A validation epoch beside bare inference on the same images, in CPU seconds of one thread.

    taskset -c 1 python -m tests.benchmarks.validation_table [--rounds 6] [--profile]

Faster R-CNN on shapes as in its recipe's first command (96 pixels, batches of 8), and U-Net on ResNet-34 with images
and masks of CamVid's size (360 x 480, 11 classes, batches of 4). The images are in memory. Bare inference is the
pipeline's prediction of every batch; a validation also has Lightning's loop, the losses and the metrics.
"""

import argparse
import cProfile
import pstats
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from tests.benchmarks.speed_table.timing import Build, Job, compare
from tests.helpers.small_trainer import small_trainer
from visionkit.backbones import create_backbone
from visionkit.data.datamodule import VisionData
from visionkit.data.datasets.shapes import Shapes
from visionkit.models import create_model
from visionkit.pipelines.base import evaluation_mode
from visionkit.preprocessing.detection import DetectionPreprocessOptions
from visionkit.tasks import Detection, Segmentation, Task

CLASSES, HEIGHT, WIDTH = 11, 360, 480
RPN = {
    "pre_nms_top_n_train": 500,
    "post_nms_top_n_train": 300,
    "pre_nms_top_n_test": 300,
    "post_nms_top_n_test": 100,
}


def shapes(images: int) -> VisionData:
    """Return shapes in memory as (image, target) pairs."""
    dataset, pairs = Shapes(split="val", count=images, size=96), []
    for index in range(images):
        sample = dataset[index]
        boxes = torch.from_numpy(sample.annotation.boxes.astype(np.float32)).reshape(-1, 4)
        target = {"boxes": boxes, "labels": torch.from_numpy(sample.annotation.labels)}
        pairs.append((torch.from_numpy(sample.image).permute(2, 0, 1).contiguous(), target))
    return VisionData.from_datasets(val=pairs, class_names=dataset.class_names, batch_size=8, num_workers=0)


def masks(images: int) -> VisionData:
    """Return random images with masks of CamVid's size in memory; a twentieth of the pixels is ignored."""
    generator = torch.Generator().manual_seed(0)
    pairs = []
    for _ in range(images):
        image = torch.randint(0, 256, (3, HEIGHT, WIDTH), dtype=torch.uint8, generator=generator)
        mask = torch.randint(0, CLASSES, (HEIGHT, WIDTH), dtype=torch.uint8, generator=generator)
        mask[: HEIGHT // 20] = 255
        pairs.append((image, mask))
    names = [f"class {label}" for label in range(CLASSES)]
    return VisionData.from_datasets(val=pairs, class_names=names, batch_size=4, num_workers=0)


def faster_rcnn(data: VisionData) -> Task:
    """Return Faster R-CNN with the options of the card shapes."""
    backbone = create_backbone("resnet50", weights="none")
    model = create_model("faster_rcnn", backbone, len(data.class_names), rpn=RPN, roi={"batch_size_per_image": 64})
    return Detection(model, data.class_names, preprocess=DetectionPreprocessOptions(short_side=96, long_side=192))


def unet(data: VisionData) -> Task:
    """Return U-Net on ResNet-34."""
    model = create_model("unet", create_backbone("resnet34", weights="none"), len(data.class_names))
    return Segmentation(model, data.class_names)


ROWS: dict[str, Any] = {"faster_rcnn, shapes": (faster_rcnn, shapes, 24), "unet, masks": (unet, masks, 8)}
"""Task, data, and number of images."""


def validation(task: Task, data: VisionData) -> Job:
    """Return a validation epoch."""
    return lambda: small_trainer().validate(task, data, verbose=False)


def inference(task: Task, data: VisionData) -> Job:
    """Return the prediction of all batches."""

    @torch.inference_mode()
    def predict() -> None:
        with evaluation_mode(task):
            for batch in data.val_dataloader():
                task(batch.images)

    return predict


def contenders(name: str, images: int | None = None) -> dict[str, Build]:
    """Return validation and inference of a row, on one task with the same images."""
    make_task, make_data, usual = ROWS[name]
    torch.manual_seed(0)
    data = make_data(images or usual)
    task = make_task(data)
    return {"validation": partial(validation, task, data), "inference": partial(inference, task, data)}


def main(words: Sequence[str] | None = None) -> int:
    """Print the table, or with `--profile` where the time of a validation goes."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.validation_table")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--rows", nargs="*", default=list(ROWS))
    options = parser.parse_args(words)
    print("| row | validation, s | inference, s | ratio |\n|---|---|---|---|")
    for name in options.rows:
        build = contenders(name)
        if options.profile:
            profile(build["validation"]())
            continue
        found = compare(build, options.rounds)
        seconds, ratio = found.medians(), found.ratio("inference")
        print(
            f"| {name} | {seconds['validation']:.3f} | {seconds['inference']:.3f} | "
            f"{ratio.median:.3f} ({ratio.lower:.3f} to {ratio.upper:.3f}) |",
            flush=True,
        )
    return 0


def profile(job: Job) -> None:
    """Print the functions that take most of the time of the second run."""
    torch.set_num_threads(1)
    job()
    profiler = cProfile.Profile()
    profiler.runcall(job)
    pstats.Stats(profiler).sort_stats("cumulative").print_stats("visionkit|torch.nn.functional|metrics", 60)


if __name__ == "__main__":
    raise SystemExit(main())
