"""How time and memory grow with image size, objects per image, classes and data set size.

    taskset -c 1 python -m tests.benchmarks.growth_table [PART ...] [--sizes N,...] [--networks NAME,...]

PART is one of image_size, objects, classes, images; all by default. CPU seconds of one thread, the smaller of two runs
after a first one, and the MiB by which the peak of the process rises. The slopes are those on
logarithmic axes over the larger half of the sizes: 0 does not grow, 1 is linear, 2 quadratic. Detectors have a
ResNet-18 and batches of two images. `images` writes COCO files to a temporary folder, with two objects an image and
empty image files.
"""

import argparse
import json
import math
import sys
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional

from tests.benchmarks.speed_table.detectors import random_batch
from tests.benchmarks.speed_table.timing import Job, cpu_seconds, prepare
from visionkit.backbones import create_backbone
from visionkit.data.batch import Batch
from visionkit.data.datamodule import VisionData
from visionkit.data.transforms.augmentation import Augmentation
from visionkit.metrics.coco import CocoAP
from visionkit.models import create_model
from visionkit.structures import Annotation, Sample

SIDE, OBJECTS, CLASSES = 256, 8, 20
SIDES = (128, 256, 512, 1024)
COUNTS = (1, 10, 100, 1000)
IMAGES = (1_000, 10_000, 100_000, 1_000_000)
FILES = 1_000
"""Empty image files in a folder."""

NETWORKS = {"faster_rcnn": "resnet18", "retinanet": "resnet18", "ssd": "vgg16_atrous"}


class Cost(NamedTuple):
    """CPU seconds, and MiB by which the peak memory rises."""

    seconds: float
    mebibytes: float


Columns = dict[str, list[Cost]]
"""Costs of each job by size."""


def cost(job: Job, runs: int = 2, warm_up: int = 1) -> Cost:
    """Return the cost of a job: the least seconds of its runs after a warm-up, and the largest rise of the peak."""
    rise, times = 0.0, []
    for _ in range(warm_up + runs):
        before = _reset_peak()
        start = cpu_seconds()
        job()
        times.append(cpu_seconds() - start)
        rise = max(rise, (_memory("VmHWM") - before) / 1024)
    return Cost(min(times[warm_up:]), rise)


def _reset_peak() -> int:
    """Reset the peak of the process, and return its KiB at present."""
    Path("/proc/self/clear_refs").write_text("5")
    return _memory("VmRSS")


def _memory(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return the slope of the least-squares line through the logarithms of the larger half; NaN without one."""
    half = max(len(sizes) // 2 + 1, 2)
    if len(sizes) < 2 or min(values[-half:]) <= 0:
        return math.nan
    return float(np.polyfit(np.log(sizes[-half:]), np.log(values[-half:]), 1)[0])


def training_and_inference(name: str, batch: Batch, classes: int) -> tuple[Job, Job]:
    """Return a training step without the optimizer, and inference."""
    torch.manual_seed(0)
    network = create_model(name, create_backbone(NETWORKS[name], weights="none"), classes)
    images = [image / 255 for image in batch.images]

    def train() -> None:
        network.train().zero_grad()
        sum(network(images, batch.targets).values()).backward()

    def predict() -> None:
        with torch.inference_mode():
            network.eval()(images)

    return train, predict


def detectors(
    sizes: Sequence[int], names: Sequence[str], batch_of: Callable[[int], Batch], classes_of: Callable[[int], int]
) -> Columns:
    """Return training step and inference of detectors by size."""
    found: Columns = {}
    for name in names:
        for size in sizes:
            jobs = training_and_inference(name, batch_of(size), classes_of(size))
            for kind, job in zip(("training", "inference"), jobs, strict=True):
                found.setdefault(f"{name}, {kind}", []).append(cost(job))
    return found


def by_image_size(sizes: Sequence[int], networks: Sequence[str]) -> Columns:
    """Return the costs by the side of square images; pixels grow with the square."""
    return detectors(
        sizes, networks, lambda side: random_batch(2, (side, side), torch.device("cpu"), OBJECTS), lambda _: CLASSES
    )


def by_objects(sizes: Sequence[int], networks: Sequence[str]) -> Columns:
    """Return the costs by the objects of each image."""
    found = detectors(
        sizes, networks, lambda count: random_batch(2, (SIDE, SIDE), torch.device("cpu"), count), lambda _: CLASSES
    )
    steps = [{"name": "RandomCrop", "height": 200, "width": 200}, {"name": "HorizontalFlip", "p": 0.5}]
    augmentation = Augmentation(steps, 0.1)
    found["crop and flip"] = [cost(lambda count=count: augmentation(_sample(count))) for count in sizes]
    found["COCO metric of 20 images"] = [cost(_metric(count, CLASSES, images=20)) for count in sizes]
    return found


def _sample(objects: int) -> Sample:
    boxes = random_batch(1, (SIDE, SIDE), torch.device("cpu"), objects).targets[0]["boxes"].numpy()
    none, labels = np.zeros(objects, bool), np.zeros(objects, np.int64)
    annotation = Annotation(boxes, labels, none, none, np.full(objects, 400, np.float32))
    return Sample(np.zeros((SIDE, SIDE, 3), np.uint8), 0, "a.png", annotation)


def _metric(objects: int, classes: int, images: int) -> Job:
    """Return the scoring of as many detections as objects."""
    generator = torch.Generator().manual_seed(0)
    batch = random_batch(images, (SIDE, SIDE), torch.device("cpu"), objects)
    targets = [{**target, "labels": target["labels"] % classes} for target in batch.targets]
    predictions = [
        {"boxes": target["boxes"], "labels": target["labels"], "scores": torch.rand(objects, generator=generator)}
        for target in targets
    ]

    def score() -> None:
        metric = CocoAP([f"class {label}" for label in range(classes)])
        metric.update(predictions, targets)
        metric.compute()

    return score


def by_classes(sizes: Sequence[int], networks: Sequence[str]) -> Columns:
    """Return the costs by the number of classes."""
    fixed = random_batch(2, (SIDE, SIDE), torch.device("cpu"), OBJECTS)

    def batch_of(classes: int) -> Batch:
        return Batch(fixed.images, [{**target, "labels": target["labels"] % classes} for target in fixed.targets])

    found = detectors(sizes, networks, batch_of, lambda classes: classes)
    found["COCO metric of 200 images"] = [cost(_metric(OBJECTS, classes, images=200)) for classes in sizes]
    found["U-Net, training"] = [cost(_segmentation(classes)) for classes in sizes]
    return found


def _segmentation(classes: int) -> Job:
    torch.manual_seed(0)
    network = create_model("unet", create_backbone("resnet18", weights="none"), classes)
    images, truth = torch.randn(2, 3, 128, 128), torch.randint(0, classes, (2, 128, 128))

    def train() -> None:
        network.zero_grad()
        functional.cross_entropy(network(images), truth).backward()

    return train


def by_images(sizes: Sequence[int], networks: Sequence[str]) -> Columns:
    """Return the costs by the number of images in a COCO file."""
    found: Columns = {}
    for images in sizes:
        with tempfile.TemporaryDirectory(prefix="growth_table_") as folder:
            write_coco(Path(folder), images)
            for name, job in _data_jobs(Path(folder)):
                found.setdefault(name, []).append(cost(job, runs=1, warm_up=0))
    return found


def write_coco(folder: Path, images: int) -> None:
    """Write a COCO file with two objects an image, and empty image files."""
    files, folders = min(images, FILES), -(-images // FILES)
    (folder / "0").mkdir()
    for number in range(files):
        (folder / "0" / f"{number}.jpg").touch()
    for number in range(1, folders):
        (folder / f"{number}").symlink_to("0")  # a million files would take minutes
    objects = range(2 * images)
    entries = {
        "images": (
            f'{{"id":{number},"file_name":"{number // FILES}/{number % FILES}.jpg","height":480,"width":640}}'
            for number in range(images)
        ),
        "annotations": (
            f'{{"id":{number},"image_id":{number // 2},"category_id":{number % 80},'
            f'"bbox":[{number % 300},{number % 200},50,40],"area":2000,"iscrowd":0}}'
            for number in objects
        ),
        "categories": (json.dumps({"id": number, "name": f"class {number}"}) for number in range(80)),
    }
    with (folder / "train.json").open("w") as file:
        for number, (name, lines) in enumerate(entries.items()):
            file.write(f'{"{" if number == 0 else ","}"{name}":[\n')
            for place, line in enumerate(lines):
                file.write(f"{',' if place else ''}{line}\n")
            file.write("]")
        file.write("}")


def _data_jobs(folder: Path) -> Iterator[tuple[str, Job]]:
    """Yield what happens before the first step."""
    splits = {"train": {"annotations": "train.json"}}
    opened = []

    def open_data() -> None:
        opened.append(VisionData("coco", str(folder), splits, batch_size=2, num_workers=0))
        opened[0].dataset("train")

    yield "open", open_data
    yield "class counts", lambda: opened[0].class_counts("train")
    yield "order of an epoch", lambda: deque(opened[0].train_dataloader().sampler, maxlen=0)


PARTS: dict[str, tuple[str, Sequence[int], Callable[[Sequence[int], Sequence[str]], Columns]]] = {
    "image_size": ("side of the image", SIDES, by_image_size),
    "objects": ("objects per image", COUNTS, by_objects),
    "classes": ("classes", COUNTS, by_classes),
    "images": ("images of the data set", IMAGES, by_images),
}
"""Title, sizes, and function of each part."""


def markdown(title: str, sizes: Sequence[int], columns: Columns) -> str:
    """Return a table with a row per job: seconds and MiB by size, and the slopes."""
    head = [title, *(f"{size:,}" for size in sizes), "slope of time", "slope of memory"]
    lines = [head, ["---"] * len(head)]
    for name, costs in columns.items():
        cells = [f"{found.seconds:.3g} s, {found.mebibytes:.0f} MiB" for found in costs]
        slopes = [slope(sizes, values) for values in zip(*costs, strict=True)]
        lines.append([name, *cells, *("-" if math.isnan(value) else f"{value:.2f}" for value in slopes)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(words: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.growth_table")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--sizes", type=lambda text: [int(word) for word in text.split(",")])
    parser.add_argument("--networks", type=lambda text: text.split(","), default=list(NETWORKS))
    options = parser.parse_args(words)
    if unknown := [name for name in options.parts if name not in PARTS]:
        parser.error(f"there is no part {unknown[0]!r}, only {', '.join(PARTS)}")
    prepare(torch.device("cpu"))
    for name in options.parts or PARTS:
        title, usual, measure = PARTS[name]
        sizes = options.sizes or usual
        print(markdown(title, sizes, measure(sizes, options.networks)), end="\n\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
