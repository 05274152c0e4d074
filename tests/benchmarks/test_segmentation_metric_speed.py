"""Share of the metrics in the time of a segmentation validation step.

Run by hand: pytest -m benchmark -o addopts="" -s tests/benchmarks/test_segmentation_metric_speed.py
CPU time of one thread is measured, because other processes disturb it less.
"""

import statistics
import time

import pytest
import torch
from torch import nn
from torch.nn import functional

from visionkit.data.batch import Batch
from visionkit.tasks import Segmentation

HEIGHT, WIDTH, CLASSES, IMAGES = 360, 480, 11, 4
"""CamVid as it is published."""

WARM_UP, ROUNDS = 1, 7
BOUND = 0.03

pytestmark = pytest.mark.benchmark


class SmallUNet(nn.Module):
    """Return a U-Net with two downsampling steps and a quarter of the paper's widths, where the share is large."""

    def __init__(self, widths=(16, 32, 64)):
        super().__init__()
        self.backbone = nn.ModuleList(self._pair(*sides) for sides in zip((3, *widths), widths, strict=False))
        self.up = nn.ModuleList(
            self._pair(low + high, high) for low, high in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.classifier = nn.Conv2d(widths[0], CLASSES, 1)

    @staticmethod
    def _pair(inputs, outputs):
        convolutions = (nn.Conv2d(inputs, outputs, 3, padding=1), nn.Conv2d(outputs, outputs, 3, padding=1))
        return nn.Sequential(convolutions[0], nn.ReLU(), convolutions[1], nn.ReLU())

    def forward(self, x):
        skips = []
        for index, stage in enumerate(self.backbone):
            x = stage(functional.max_pool2d(x, 2) if index else x)
            skips.append(x)
        for stage, skip in zip(self.up, skips[-2::-1], strict=True):
            x = stage(torch.cat([functional.interpolate(x, skip.shape[-2:]), skip], dim=1))
        return self.classifier(x)


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (IMAGES, 3, HEIGHT, WIDTH), generator=generator, dtype=torch.uint8)
    masks = torch.randint(0, CLASSES, (IMAGES, HEIGHT, WIDTH), generator=generator, dtype=torch.uint8)
    masks[torch.rand(masks.shape, generator=generator) < 0.05] = 255
    targets = [{"semantic": mask, "image_id": index} for index, mask in enumerate(masks)]
    return Batch(list(images), targets)


def timed(function, kept):
    def run(*given):
        start = time.process_time()
        function(*given)
        kept.append(time.process_time() - start)

    return run


def test_the_metrics_cost_little_of_a_validation_step():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    task = Segmentation(SmallUNet(), [f"class {label}" for label in range(CLASSES)]).eval()
    updates, steps = [], []
    task.metric.update = timed(task.metric.update, updates)
    step, images = timed(task.validation_step, steps), batch()
    with torch.inference_mode():
        for _ in range(WARM_UP + ROUNDS):
            step(images, 0)
    torch.set_num_threads(threads)
    update, whole = (statistics.median(times[WARM_UP:]) for times in (updates, steps))
    print(f"\nmetrics {1000 * update:.1f} ms of a step of {1000 * whole:.0f} ms: {100 * update / whole:.2f} %")
    assert update / whole < BOUND
